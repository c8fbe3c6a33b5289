"""`bin/load`: loads what bin/dump wrote, all or nothing."""

import argparse
import os
import sys

from ..database import connect
from ..server import database_url
from ..transfer.load import check, load
from .cli import run_command
from .progress import shown


def main() -> None:
    """`python -m tomato_dao.ops.load [--replace | --merge | --check] FILE`"""
    parser = argparse.ArgumentParser(
        prog="load",
        description="Load a dump into the empty database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded server's), all "
        "or nothing.",
    )
    parser.add_argument("file", help="the dump; .json, .json.gz or .json.zst may be left out; - is standard input")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--replace", action="store_true", help="remove all that is in the database first")
    mode.add_argument("--merge", action="store_true", help="insert or update by pk; what the file doesn't name stays")
    mode.add_argument(
        "--check", action="store_true", help="only read and verify the file, without a database (keys and references: on loading)"
    )
    options = parser.parse_args()
    file = sys.stdin.buffer if options.file == "-" else options.file
    with shown() as progress:
        if options.check:
            summary = check(file, progress=progress)
        else:
            url = os.environ.get("OWNER_DATABASE_URL") or database_url()
            with connect(url, pool_size=1, application_name="tomato-dao load") as db:
                summary = load(db, file, replace=options.replace, merge=options.merge, progress=progress)
    print(f"load: {'fine: ' if options.check else ''}{summary}", file=sys.stderr)


if __name__ == "__main__":
    sys.argv[0] = "load"
    run_command(main)
