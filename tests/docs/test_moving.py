"""The guide docs/moving-from-django.md: each of its commands is typed, and says what the guide says."""

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.helpers.legacy_cases import sample
from tomato_dao.ops.scratch import drop_database, with_database

pytestmark = pytest.mark.slow

GUIDE = CHECKOUT / "docs" / "moving-from-django.md"
LINKED = (".venv", "Makefile", "bin", "db", "pyproject.toml", "requirements.lock", "tomato_dao")
# Parts that differ from one run to the next: durations, moments, the schema version, the number of passed timeouts.
VARIES = re.compile(
    r"\d+\.\d s\b|\d+(?= × tomato\.topology's timeout)|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\d[ T][\d:.+]+|\d{14}|\d+ MB"
)


@dataclass
class Command:
    """A command of the guide and the lines that it says, in the guide and in truth; a line “…” stands for any."""

    line: str
    expected: list[str] = field(default_factory=list)
    code: int | None = None
    said: str = ""


def commands() -> list[Command]:
    """Return the commands that the guide tells to type, in its order; lines that begin otherwise are their output."""
    found: list[Command] = []
    is_output = False
    for line in GUIDE.read_text("utf-8").splitlines():
        if line.startswith("    $ "):
            found.append(Command(re.sub(r"\s+#.*", "", line.removeprefix("    $ "))))
            is_output = True
        elif is_output and line.startswith("    "):
            found[-1].expected.append(line.removeprefix("    ").rstrip())
        else:
            is_output = False
    return found


COMMANDS = commands()


def spoil(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the dump with three things wrong: a name, a timeout, and a connection whose end went with its network instance."""
    gone = [("tomato.element", 148), ("tomato.external_network_endpoint", 148)]
    changed = {
        ("tomato.site", 6): {"name": "lab 2/3"},
        ("tomato.topology", 4): {"timeout": 1e12},
        ("tomato.hostelement", 129): {"topology_element": None},
    }
    for record in records:
        record["fields"] |= changed.get((record["model"], record["pk"]), {})
    return [record for record in records if (record["model"], record["pk"]) not in gone]


@pytest.fixture(scope="module")
def typed(tomato_server_url: str, has_roles: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Command]]:
    """All commands, typed in a directory like a checkout's, with a database of its own that is not there yet."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    if not (CHECKOUT / ".venv" / "installed").exists():
        pytest.skip("the checkout was not set up by make, so its commands can't be typed")
    place = tmp_path_factory.mktemp("checkout")
    for name in LINKED:
        (place / name).symlink_to(CHECKOUT / name)
    shutil.copy(sample("real-0038.json.gz"), place / "dump.json.gz")
    records = json.loads(gzip.decompress((place / "dump.json.gz").read_bytes()))
    (place / "broken.json").write_text(json.dumps(spoil(records)))
    url = with_database(tomato_server_url, f"tomato_guide_{token_hex(6)}")
    try:
        others = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "OWNER_DATABASE_URL", "DIRECT_DATABASE_URL"}
        environment = {name: value for name, value in os.environ.items() if name not in others}
        environment |= {"DATABASE_URL": url, "BACKUP_DIR": str(place / "backups")}
        for command in COMMANDS:
            done = subprocess.run(
                ["/bin/sh", "-c", command.line],
                cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            )  # fmt: skip
            command.code, command.said = done.returncode, done.stdout
        yield COMMANDS
    finally:
        drop_database(url)


def test_the_guide_has_its_commands() -> None:
    typed = [command.line for command in COMMANDS]
    assert len(set(typed)) == len(typed)
    assert {"make migrate", "make roles", "bin/load --check dump", "bin/load --extend-timeouts 3d dump"} <= set(typed)


def test_each_command_says_what_the_guide_says(typed: list[Command]) -> None:
    assert [told for command in typed if (told := otherwise(command))] == []


def otherwise(command: Command) -> str | None:
    """Return what a command says, if the guide says otherwise."""
    refused = command.line == "bin/load --check broken"
    allowed = {1} if refused else {0, 1} if command.line == "bin/doctor" else {0}
    pattern = "".join("(?:.*\n)*?" if line == "…" else as_pattern(line) + "\n" for line in command.expected)
    said = "".join(VARIES.sub("@", line.rstrip()) + "\n" for line in command.said.rstrip().splitlines())
    return None if command.code in allowed and re.fullmatch(pattern, said) else f"{command.line}: {command.said}"


def as_pattern(line: str) -> str:
    """Return a line of the guide; “…” in it stands for anything."""
    return ".*".join(re.escape(VARIES.sub("@", part)) for part in line.split("…"))
