"""db/schema.sql: the layout as dbmate dumps it, for people to read; made with the embedded server and its own pg_dump."""

import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

from .. import layout
from ..errors import TomatoError
from . import embedded, programs
from .cli import run_command
from .dbmate import dbmate
from .scratch import scratch_database

SCHEMA_FILE = layout.DB_DIR / "schema.sql"


def schema() -> str:
    """What dbmate dumps of a database that has all migrations."""
    with scratch_database(embedded.start()) as url, tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "schema.sql")
        path = os.pathsep.join([os.fspath(programs.binaries()), os.environ.get("PATH", os.defpath)])
        dbmate(url, "--schema-file", os.fspath(file), "dump", path=path)
        return file.read_text("utf-8")


def main() -> None:
    """`python -m tomato_dao.ops.schema [--check]`"""
    parser = argparse.ArgumentParser(prog="schema", description="Write db/schema.sql as the migrations make it.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date (exit 1 where it isn't)")
    check = parser.parse_args().check
    made = schema()
    if not check:
        SCHEMA_FILE.write_text(made, "utf-8")
        return
    there = SCHEMA_FILE.read_text("utf-8") if SCHEMA_FILE.exists() else ""
    if made != there:
        lines = difflib.unified_diff(there.splitlines(), made.splitlines(), "db/schema.sql", "the migrations", lineterm="")
        print("\n".join(lines), file=sys.stderr)
        raise TomatoError("db/schema.sql is stale: run make schema")


if __name__ == "__main__":
    run_command(main, "schema")
