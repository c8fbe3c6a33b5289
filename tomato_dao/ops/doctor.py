"""`tomato-dao doctor`: one page about the state of the server and the database, with advice for each problem."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from ..errors import TomatoError
from ..printable import json_escaped, printable
from ..server.commands import command_line
from ..server.probe import is_full, probe
from ..sql.timing import at_most
from .cli import Parser
from .examinations import ABSENT, BAD, NOTE, OK, UNKNOWN, Finding, examine
from .urls import owner_url
from .watch import watch

_PATIENCE = 60  # seconds for the whole examination
JSON_VERSION = 1  # version of the format of --json: raised if a key is removed or changes its meaning, not if one is added
_SIGNS = {OK: "ok  ", NOTE: "note", BAD: "BAD ", UNKNOWN: "?   ", ABSENT: "–   "}
# Exit codes and words of a monitoring plugin, by the worst finding.
_STATES = {BAD: (2, "CRITICAL"), NOTE: (1, "WARNING"), UNKNOWN: (3, "UNKNOWN"), OK: (0, "OK")}
_MOST = 20  # maximum lines of details and of advice per finding on the page


class _Parser(Parser):
    is_plugin = False

    def error(self, message: str) -> NoReturn:
        """Exit with 2, or with 3 as a monitoring plugin, for which 2 means a problem of the database."""
        if self.is_plugin:
            print(f"TOMATO UNKNOWN - {printable(message, 1000)}")
            sys.exit(3)
        super().error(message)


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao doctor [--json | --monitoring | --watch N] [--pool-size N]`."""
    parser = _Parser(
        prog=prog,
        description="Check the server and the database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded ones). "
        "Exits with 1 if something is bad.",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print JSON, for machines")
    forms.add_argument(
        "--monitoring",
        action="store_true",
        help="act as a plugin of Nagios, Icinga and the like: one line, then the problems; "
        "exit with 0 (ok), 1 (a note), 2 (something is bad), 3 (unknown, or misuse)",
    )
    forms.add_argument(
        "--watch", type=float, metavar="N", help="show the busiest queries of all workers, every N seconds, until interrupted"
    )
    parser.add_argument("--pool-size", type=int, default=8, metavar="N", help="the pool size of a worker process (default: 8)")
    parser.is_plugin = "--monitoring" in arguments
    options = parser.parse_args(arguments)
    if options.pool_size < 1:
        parser.error("a pool needs at least one connection")
    if options.watch is not None:
        if not 0.2 <= options.watch <= 3600:
            parser.error("--watch must be 0.2 to 3600 seconds")
        watch(options.watch, options.pool_size)
    where, findings = _examine(options.pool_size)
    bad = [finding.topic for finding in findings if finding.level == BAD]
    if options.json:
        _print_json(where, findings)
    elif options.monitoring:
        sys.exit(_print_state(where, findings))
    else:
        print(f"{printable(where)}: {'to do: ' + ', '.join(bad) if bad else 'all is well'}\n")
        for finding in findings:
            _print(finding)
    sys.exit(1 if bad else 0)


def _examine(pool_size: int) -> tuple[str, list[Finding]]:
    """Return the database's address and the findings, or a single finding if it cannot be examined."""
    try:
        with at_most(_PATIENCE), probe(owner_url()) as connection:  # rows() sets the search_path of each query
            connection.execute("set statement_timeout = '30s'")
            connection.execute("set lock_timeout = '1s'")  # the doctor does not join the queue that it reports
            where = f"{connection.info.dbname} on {connection.info.host}:{connection.info.port}"
            findings = list(examine(connection, pool_size))
            if connection.closed:
                advice = ["check the server's machine and its log: a process may be stopped, or the network down"]
                findings.insert(
                    0, Finding("server", BAD, "the session ended: the server closed it or did not answer", [], advice)
                )
            return where, findings
    except TomatoError as error:
        what, _, step = str(error).partition("; ")  # in the style of our errors
        advice = [step] if step else []
        if not is_full(error):
            return "the database", [Finding("server", BAD, what, advice=advice)]
        doctor = f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('doctor')}"
        advice.append(f"a superuser can use a reserved connection: {doctor}")
        return "the database", [Finding("connections", BAD, what, advice=advice)]


def worst_of(findings: Sequence[Finding]) -> str:
    """Return the worst level, in the order of monitoring plugins. A missing optional part is no problem."""
    levels = {finding.level for finding in findings}
    return next(level for level in _STATES if level in levels or level == OK)


def _print_json(where: str, findings: Sequence[Finding]) -> None:
    found = [{name: getattr(f, name) for name in Finding.__slots__} for f in findings]
    worst = worst_of(findings)
    told = {"version": JSON_VERSION, "database": where, "state": worst, "well": worst != BAD, "findings": found}
    print(json_escaped(json.dumps(told, default=_as_text, ensure_ascii=False, indent=2)))


def _print_state(where: str, findings: Sequence[Finding]) -> int:
    """Print the output of a monitoring plugin and return its exit code."""
    worst = worst_of(findings)
    code, word = _STATES[worst]
    named = ", ".join(finding.topic for finding in findings if finding.level == worst)
    told = "all is well" if worst == OK else named
    figures = {level: sum(finding.level == level for finding in findings) for level in (BAD, NOTE, UNKNOWN)}
    performance = " ".join(f"{level}={number}" for level, number in figures.items())
    print(f"TOMATO {word} - {_plain(where)}: {told} | {performance}")
    for finding in findings:
        if finding.level in (BAD, NOTE, UNKNOWN):
            print(_plain("; ".join([f"{finding.topic}: {finding.summary}", *finding.details[:3], *finding.advice[:3]])))
    return code


def _plain(text: str) -> str:
    """Escape text for a plugin's output, in which “|” starts the performance data."""
    return printable(text.replace("|", "/"), 1000)


def _print(finding: Finding) -> None:
    print(f"{_SIGNS[finding.level]}  {finding.topic:<13}  {printable(finding.summary, 1000)}")
    for line in _short(finding.details):
        print(f"{'':21}{printable(line, 1000)}")
    for line in _short(finding.advice):
        print(f"{'':19}{'  ' if line.startswith(' ') else '→ '}{printable(line, 1000)}")


def _short(lines: Sequence[str]) -> list[str]:
    return [*lines[:_MOST], *([f"and {len(lines) - _MOST:,} more; --json lists all"] if len(lines) > _MOST else [])]


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
