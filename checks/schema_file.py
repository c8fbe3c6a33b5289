"""Generator of files from the migrations: db/schema.sql for people, and db/models.json for checks of dumps.

The first is what dbmate dumps with the embedded server's own pg_dump; the second describes the models as a header does, so
that a dump is checked without a database.
"""

import argparse
import difflib
import os
import re
import sys
import tempfile
from pathlib import Path

import msgspec

from tomato_dao.errors import TomatoError
from tomato_dao.ops import embedded, programs
from tomato_dao.ops.cli import run_command
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema
from tomato_dao.server.probe import probe
from tomato_dao.server.target import target_of
from tomato_dao.transfer.catalog import tables
from tomato_dao.transfer.dump import described

SCHEMA_FILE, MODELS_FILE = schema.DB_DIR / "schema.sql", schema.DB_DIR / "models.json"


def made() -> dict[Path, str]:
    """Return the contents of the files, from a migrated database on the tests' embedded server."""
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url) as url,
        tempfile.TemporaryDirectory() as directory,
    ):
        file = Path(directory, "schema.sql")
        path = os.pathsep.join([os.fspath(programs.binaries()), os.environ.get("PATH", os.defpath)])
        with probe(url) as connection:
            dbmate(target_of(connection), "--schema-file", os.fspath(file), "dump", path=path)
            models = msgspec.json.format(msgspec.json.encode(described(tables(connection)))).decode()
        text = re.sub(r"^-- Dumped (?:from|by) .*\n+", "", file.read_text("utf-8"), flags=re.MULTILINE)  # minor versions differ
        return {SCHEMA_FILE: text, MODELS_FILE: models + "\n"}


def main() -> None:
    """Run `python -m checks.schema_file [--check]`."""
    parser = argparse.ArgumentParser(
        prog="schema", description="Write db/schema.sql and db/models.json as the migrations make them."
    )
    parser.add_argument("--check", action="store_true", help="only check that they are up to date (exit 1 if not)")
    check = parser.parse_args().check
    for path, text in made().items():
        if not check:
            path.write_text(text, "utf-8")
            continue
        there = path.read_text("utf-8") if path.exists() else ""
        if text != there:
            name = f"db/{path.name}"
            print(
                *difflib.unified_diff(there.splitlines(), text.splitlines(), name, "the migrations", lineterm=""),
                sep="\n",
                file=sys.stderr,
            )
            raise TomatoError(f"{name} is stale: run make schema")


if __name__ == "__main__":
    run_command(main, "schema")
