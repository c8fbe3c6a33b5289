"""`python -m benchmarks.page NAME…`: run benchmarks and write their output into their sections of docs/benchmarks.md.

Each section names the date, the machine and the versions.
"""

import argparse
import contextlib
import datetime
import importlib
import io
import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import psycopg

from tomato_dao.ops.urls import database_url
from tomato_dao.server.probe import maintenance

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


class _Tee(io.StringIO):
    """Output that is both printed and kept."""

    def write(self, text: str, /) -> int:
        """Print a text and keep it."""
        sys.__stdout__.write(text)  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
        return super().write(text)


def main() -> None:
    """Run the benchmarks named by the arguments, with their default options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a module of benchmarks: calls, dump_load, …")
    for name in parser.parse_args().names:
        module = importlib.import_module(f"benchmarks.{name}")
        output = _Tee()
        sys.argv[1:] = []
        with contextlib.redirect_stdout(output):
            module.main()
        write(command_of(module.__doc__ or ""), output.getvalue())


def command_of(docstring: str) -> str:
    """Return the command with which a benchmark's docstring begins. Raises ValueError without one."""
    found = re.match(r"`(make bench[a-z-]*)`", docstring)
    if found is None:
        raise ValueError("a benchmark's docstring begins with its command: `make bench-…`")
    return found[1]


def write(command: str, printed: str) -> None:
    """Write a command's output into its section of the page. A Markdown table stays a table, other text becomes a block."""
    text = printed.strip("\n")
    told = text if "| --- |" in text else f"```none\n{text}\n```"
    PAGE.write_text(replaced(PAGE.read_text("utf-8"), command, f"{_where()}\n\n{told}"), "utf-8")


def replaced(page: str, command: str, text: str) -> str:
    """Return the page with a command's section replaced. Raises ValueError if there is no such section."""
    begin, end = f"<!-- {command} -->\n", f"<!-- end of {command} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page has no section between {begin.strip()} and {end.strip()}")
    before, behind = page.partition(begin)[0], page.partition(end)[2]
    return f"{before}{begin}\n{text}\n\n{end}{behind}"


def _where() -> str:
    """Return the date, the machine and the versions."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    machine = f"{os.cpu_count()} CPUs ({found[1] if found else platform.machine()})"
    with contextlib.closing(maintenance(database_url())) as server:
        (version,) = server.execute("select split_part(current_setting('server_version'), ' ', 1)").fetchone() or ("",)
    versions = f"PostgreSQL {version}, psycopg {psycopg.__version__}, Python {platform.python_version()}"
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {machine}; {versions}."


def positive(text: str) -> int:
    """Return the number of an option, which is 1 or more."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    main()
