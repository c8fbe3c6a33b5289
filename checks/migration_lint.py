"""Checks of the migrations: released ones are frozen, and squawk lints all of them.

squawk finds long locks, rewrites of tables, and indexes that are not created concurrently. Only the way up is checked: the way
down is for development, and naturally drops objects. A line `-- squawk-ignore rule` before a statement accepts it; add a
comment with the reason.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command
from tomato_dao.server import rolling, schema
from tomato_dao.sql.wording import counted

from .headers import header_faults

_CONFIG = schema.DB_DIR.parent / ".squawk.toml"
RELEASED = "released.sha256"


def unfrozen(directory: Path) -> list[str]:
    """Return the faults of a directory's migrations against its list of released ones, a line each.

    The list has the format of sha256sum. Databases have applied the listed files: these must not change or be removed, and a
    new file that sorts before one of them would be applied after it there.
    """
    list_file = directory / RELEASED
    lines = [line.split() for line in list_file.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    if faulty := [" ".join(words) for words in lines if len(words) != 2]:
        return [f"{os.path.relpath(list_file)}: a line must have a hash and a file name, not {faulty[0]!r}"]
    released = {name: sha256 for sha256, name in lines}
    found = {path.name: path for path in schema.files(directory)}
    faults = {}
    for name in sorted(released.keys() | found.keys()):
        if name not in found:
            faults[name] = "a released migration is missing: restore the file"
        elif name not in released:
            if name < max(released, default=""):
                faults[name] = f"it comes before the released {max(released)}: give it a later version"
        elif schema.file_hash(found[name]) != released[name]:
            faults[name] = "it was edited after its release: restore it, and make the change in a new migration"
    if list(released) != sorted(released):
        faults[RELEASED] = "its lines are not in the order of the versions"
    return [f"{os.path.relpath(directory / name)}: {fault}" for name, fault in faults.items()]


def misnamed(directory: Path) -> list[str]:
    """Return the files among migrations that are none, and migrations with the same version, a line each."""
    files = schema.files(directory)
    versions = [schema.version_of(path) for path in files]
    wrong = [
        (path, "its name is not a migration's, so it is not applied: rename or remove it") for path in schema.strays(directory)
    ]
    for path, version in zip(files, versions, strict=True):
        if versions.count(version) > 1:
            wrong.append((path, "another migration has the same version: give one a later one"))
    return [f"{os.path.relpath(path)}: {fault}" for path, fault in wrong]


def headers(directory: Path) -> list[str]:
    """Return the faults of headers of unreleased migrations in a directory, a line each.

    Migrations of the first release need no header.
    """
    released = _listed(directory)
    return list(header_faults(rolling.migrations(directory), released)) if released else []


def _listed(directory: Path) -> list[str]:
    lines = (directory / RELEASED).read_text("utf-8").splitlines()
    return [line.split()[-1] for line in lines if line and not line.startswith("#")]


def findings(file: Path) -> list[str]:
    """Return squawk's findings on a migration, a line each."""
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
    """Run `python -m checks.migration_lint`."""
    changed = unfrozen(schema.DB_DIR / "migrations")
    found = [
        *misnamed(schema.DB_DIR / "migrations"),
        *headers(schema.DB_DIR / "migrations"),
        *(line for file in schema.files() for line in findings(file)),
    ]
    for line in [*changed, *found]:
        print(line, file=sys.stderr)
    if changed:
        raise TomatoError(f"released migrations never change: {counted(len(changed), 'fault')}")
    if found:
        raise TomatoError(
            f"{counted(len(found), 'finding')}; to accept a statement: -- squawk-ignore RULE before it, with the reason"
        )


if __name__ == "__main__":
    run_command(main, "migration-lint")
