"""db/schema.sql: the layout as dbmate dumps it, for people to read; from the tests' embedded server, with its own pg_dump."""

import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

from tomato_dao.errors import TomatoError
from tomato_dao.ops import embedded, programs
from tomato_dao.ops.cli import run_command
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema

SCHEMA_FILE = schema.DB_DIR / "schema.sql"


def dumped_schema() -> str:
    """Return what dbmate dumps of a database that has all migrations."""
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url) as url,
        tempfile.TemporaryDirectory() as directory,
    ):
        file = Path(directory, "schema.sql")
        path = os.pathsep.join([os.fspath(programs.binaries()), os.environ.get("PATH", os.defpath)])
        dbmate(url, "--schema-file", os.fspath(file), "dump", path=path)
        return file.read_text("utf-8")


def main() -> None:
    """`python -m checks.schema_file [--check]`"""
    parser = argparse.ArgumentParser(prog="schema", description="Write db/schema.sql as the migrations make it.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date (exit 1 where it isn't)")
    check = parser.parse_args().check
    made = dumped_schema()
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
