"""`tomato-dao load`: load a dump of `tomato-dao dump` or of the old backend, all or nothing."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..errors import TomatoError, Unavailable
from ..pool import Pool
from ..server import schema
from ..server.poolers import KeepsNoStatements
from ..transactions import Transactions
from ..transfer.files import Source, source, written
from ..transfer.legacy.load import load_legacy
from ..transfer.legacy.reader import is_legacy
from ..transfer.legacy.report import InvalidRecords, LegacySummary
from ..transfer.load import check, lacking, load, migrations_of
from ..transfer.report import Report, Summary
from .cli import Parser, file_name, interrupted_as, period
from .progress import shown
from .urls import owner_url

_NOTHING = "nothing was loaded"


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao load [options] FILE`."""
    parser = Parser(
        prog=prog,
        description="Load a dump, all or nothing, into the empty database of OWNER_DATABASE_URL or DATABASE_URL (else of the "
        "embedded server).",
    )
    parser.add_argument(
        "file", type=file_name, help="the dump; .json, .json.gz or .json.zst may be left out; - is standard input"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--replace", action="store_true", help="first delete everything in the database")
    mode.add_argument("--merge", action="store_true", help="insert or update rows by pk; rows missing from the file stay")
    mode.add_argument(
        "--check",
        action="store_true",
        help="only verify the file, without a database: that it is complete and unchanged, and that each record fits this "
        "version's schema (rules, keys and references are checked when loading); an old backend's dump is checked against "
        "all rules, in temporary tables of a database",
    )
    old = parser.add_argument_group("dumps of the old backend, which are recognised by their content")
    old.add_argument("--format", choices=["legacy"], help="treat the file as one, whatever its content")
    old.add_argument(
        "--skip-invalid",
        action="store_true",
        help="drop values that break a rule; drop records, and what depends on them, only if no other value is possible",
    )
    old.add_argument(
        "--extend-timeouts",
        type=period,
        metavar="DURATION",
        help="postpone all topology timeouts to at least this duration from now, such as 36h or 3d; "
        "timeouts pass while the backend is moved",
    )
    old.add_argument(
        "--report", type=file_name, metavar="OUT", help="write a report of what became of the records to a file, as JSON"
    )
    options = parser.parse_args(arguments)
    input_ = sys.stdin.buffer if options.file == "-" else options.file
    with source(input_) as file, shown() as progress:
        if options.format == "legacy" or file.recognise(is_legacy):
            if options.merge:
                parser.error("an old backend's dump can't be merged: --replace, or an empty database")
            summary = _load_legacy(file, options, progress)
        elif options.skip_invalid or options.report or options.extend_timeouts:
            parser.error(
                "--skip-invalid, --report and --extend-timeouts are only for dumps of the old backend, which this is not"
            )
        elif options.check:
            through = _older(file)
            summary = check(file, progress=progress)
            if through:
                print(f"load: it has an older schema, and would be migrated by {_names(through)}", file=sys.stderr)
        elif _older(file):
            with interrupted_as(_NOTHING):
                from .older import load_older  # imported here, since it takes a fifth of the start

                summary = load_older(owner_url(), file, replace=options.replace, merge=options.merge, progress=progress)
        else:
            with _database(1) as db, interrupted_as(_NOTHING):
                summary = load(db, file, replace=options.replace, merge=options.merge, progress=progress)
    print(f"load: {'fine: ' if options.check else ''}{summary}", file=sys.stderr)


def _older(file: Source) -> list[str]:
    """Return the migrations that a dump of an older schema needs; none for any other file."""
    migrations = migrations_of(file)
    return lacking(migrations) if migrations else []


def _names(versions: Sequence[str]) -> str:
    return ", ".join(path.stem for path in schema.files() if schema.version_of(path) in versions)


def _load_legacy(file: Source, options: argparse.Namespace, progress: Report) -> Summary:
    with ExitStack() as outputs:
        report = (
            outputs.enter_context(written(Path(options.report))) if options.report else None
        )  # fails before anything is done

        def write(summary: LegacySummary) -> None:
            if report is not None:
                with outputs.pop_all():
                    report.write(summary.as_json())

        with _database(2) as db:
            try:
                with interrupted_as(_NOTHING):
                    summary = load_legacy(
                        db,
                        file,
                        replace=options.replace,
                        skip_invalid=options.skip_invalid,
                        extend_timeouts=options.extend_timeouts,
                        check=options.check,
                        progress=progress,
                    )
            except InvalidRecords as error:
                write(error.summary)
                raise
        try:
            write(summary)
        except TomatoError as error:
            if options.check:
                raise
            print(f"load: warning: everything was loaded, but the report could not be written: {error}", file=sys.stderr)
        return summary


def _database(connections: int) -> Transactions:
    try:
        return Transactions(Pool(owner_url(), size=connections, application_name="tomato-dao load"))
    except KeepsNoStatements as error:
        raise Unavailable("a load cannot use a pooler: set OWNER_DATABASE_URL to the server itself") from error
