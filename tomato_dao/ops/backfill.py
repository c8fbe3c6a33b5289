"""`tomato-dao backfill`: run a backfill of db/backfills, or list them."""

import argparse
from collections.abc import Callable, Sequence
from time import monotonic

import psycopg

from ..server.commands import command_line
from ..server.planted import refuse_planted
from ..server.probe import probe
from ..sql.wording import counted
from .backfills import BATCH, PAUSE, backfill, is_done, names
from .cli import Parser, duration, interrupted_as
from .progress import shown
from .urls import owner_url


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao backfill [NAME] [--batch N] [--pause SECONDS]`."""
    parser = Parser(
        prog=prog,
        description="Fill columns that a migration added, in batches by key, in the database of OWNER_DATABASE_URL or "
        "DATABASE_URL (else of the embedded server). A stopped backfill continues where it was.",
    )
    parser.add_argument("name", nargs="?", help="the backfill, a file of db/backfills (default: list them)")
    parser.add_argument(
        "--batch", type=_at_least(int, 1), default=BATCH, metavar="N", help="rows of a transaction (%(default)s)"
    )
    parser.add_argument(
        "--pause", type=_at_least(float, 0), default=PAUSE, metavar="SECONDS", help="between two transactions (%(default)s)"
    )
    options = parser.parse_args(arguments)
    with probe(owner_url(), application_name="tomato-dao backfill") as connection:
        refuse_planted(connection)
        if options.name is None:
            found = names()
            for name in found:
                print(f"{name}  {_state(connection, name)}")
            if not found:
                print("this schema has no backfills")
            return
        with (
            shown() as progress,
            interrupted_as(f"the same command continues where it was: {command_line('backfill')} {options.name}"),
        ):
            start = monotonic()
            done = backfill(connection, options.name, batch=options.batch, pause=options.pause, progress=progress)
        took = duration(monotonic() - start)
        print(f"backfill: {options.name}: {counted(done, 'row')} in {took}; nothing is left to do")


def _state(connection: psycopg.Connection, name: str) -> str:
    try:
        return "done" if is_done(connection, name) else "to do"
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return "not in this schema"


def _at_least(kind: Callable[[str], float], least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value < 1e9:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {least} or more")
        return value

    return number
