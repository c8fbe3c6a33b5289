"""Editors and type checkers know a Database: all of its methods, also after `with`."""

import subprocess
import sys
from pathlib import Path

import jedi
import pytest

from tests.conftest import CHECKOUT

pytestmark = pytest.mark.slow

PROGRAM = """
import tomato_dao
from typing_extensions import reveal_type

with tomato_dao.connect() as db:
    reveal_type(db)
    reveal_type(db.hosts.get(1).name)
    with db.exclusive("topology", 1) as lock:
        lock.check()
        reveal_type(lock)
    for event in db.listen("elements"):
        reveal_type(event.change)
"""


def test_jedi_completes_what_with_gives() -> None:
    script = jedi.Script(PROGRAM, path=CHECKOUT / "program.py", environment=jedi.InterpreterEnvironment())
    for after, names in (
        ("(db.", {"hosts", "users", "topologies", "exclusive", "listen", "transaction", "run", "stats", "close"}),
        ("(db.hosts.", {"get", "get_by_name", "update", "claim_syncs"}),
        ("db.hosts.get(1).", {"name", "address", "enabled"}),
        ("lock.", {"check"}),
        ("(event.", {"entity", "id", "change"}),
    ):
        (line, text) = next((n, text) for n, text in enumerate(PROGRAM.split("\n"), 1) if after in text)
        assert names <= {found.name for found in script.complete(line, text.index(after) + len(after))}, after


@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["basedpyright"]], ids=["mypy", "pyright"])
def test_type_checkers_know_what_with_gives(tmp_path: Path, checker: list[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", *checker, str(program)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)
    told = [line for line in done.stdout.splitlines() if "Revealed type" in line or "Type of" in line]
    types = [line.split(" is ")[-1].strip('"').split(".")[-1] for line in told]
    assert types == ["Database", "str", "Lock", "str"], done.stdout + done.stderr
