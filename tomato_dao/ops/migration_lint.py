"""What squawk says of the migrations: long locks, rewrites of tables, indexes that are not made concurrently.

Only the way up is looked at: the way down is for development, and drops things by its nature. A line
`-- squawk-ignore rule` before a statement says that it is meant; let a comment say why.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from .. import layout
from ..errors import TomatoError
from ..wording import counted
from .cli import run_command

_CONFIG = layout.DB_DIR.parent / ".squawk.toml"


def findings(file: Path) -> list[str]:
    """What squawk has to say about a migration, a line each."""
    up, _, _ = file.read_text("utf-8").partition("\n-- migrate:down")
    alone = ["--no-assume-in-transaction"] if "transaction:false" in up.partition("\n")[0] else []
    program = os.fspath(Path(sys.executable).with_name("squawk"))
    command = [program, "--config", os.fspath(_CONFIG), *alone, "--reporter", "json", "--stdin-filepath", file.name]
    done = subprocess.run(command, input=up, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise TomatoError(f"squawk failed on {file}: {done.stderr.strip()}")
    place = os.path.relpath(file)
    return [
        f"{place}:{found['line'] + 1}: {found['rule_name']}: {found['message']} {found['help'] or ''}".rstrip()
        for found in json.loads(done.stdout)
    ]


def main() -> None:
    """`python -m tomato_dao.ops.migration_lint`"""
    found = [line for file in sorted((layout.DB_DIR / "migrations").glob("*.sql")) for line in findings(file)]
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(
            f"{counted(len(found), 'finding')}; a statement that is meant so: -- squawk-ignore RULE before it, with why"
        )


if __name__ == "__main__":
    run_command(main)
