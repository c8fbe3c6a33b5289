"""`tomato-dao dump`: write all rows of the database to a file."""

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import Unavailable
from ..pool import Pool
from ..server.commands import command_line
from ..server.poolers import KeepsNoStatements
from ..transactions import Transactions
from ..transfer.dump import dump
from .cli import Parser, file_name, interrupted_as
from .progress import shown
from .urls import database_url, direct_database_url


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao dump [--output FILE] [--jobs N]`."""
    parser = Parser(
        prog=prog,
        description="Write every table of the database of DATABASE_URL (else the embedded server's), as of one moment, as JSON "
        "with a record per line. Other sessions may write meanwhile.",
        epilog=f"{command_line('load')} reads it.",
    )
    parser.add_argument(
        "--output",
        type=file_name,
        metavar="FILE",
        help="the file to write, complete or not at all, with mode 0600; compressed if its name ends in .gz or .zst "
        "(default, and -: standard output)",
    )
    parser.add_argument("--jobs", type=_number, default=1, metavar="N", help="read over at most N connections (default: 1)")
    options = parser.parse_args(arguments)
    if options.output == "-":
        options.output = None
    left = "the output is incomplete" if options.output is None else "nothing was written"
    with (
        Transactions(_pool(options.jobs)) as db,
        shown() as progress,
        interrupted_as(left),
    ):
        if options.output is not None:
            summary = dump(db, options.output, jobs=options.jobs, progress=progress)
        else:
            try:
                with os.fdopen(sys.stdout.fileno(), "wb", closefd=False) as output:
                    summary = dump(db, output, jobs=options.jobs, progress=progress)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise Unavailable(f"can't write to standard output: {error.strerror}") from error
    print(f"dump: {summary}", file=sys.stderr)


def _pool(jobs: int) -> Pool:
    """Open the pool. Behind a pooler that keeps no prepared statements, none are used; a dump needs none."""
    url = direct_database_url() or database_url()
    try:
        return Pool(url, size=jobs, application_name="tomato-dao dump")
    except KeepsNoStatements:
        return Pool(url, size=jobs, application_name="tomato-dao dump", prepare=False)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)
