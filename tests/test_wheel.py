"""The wheel works on its own: in an empty environment, outside the checkout."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from conftest import CHECKOUT
from packaging.requirements import Requirement

from tomato_dao.ops.scratch import scratch_database

USE = """
import pathlib, sys, tomato_dao
from tomato_dao.ops.migrate import migrate
assert "site-packages" in tomato_dao.__file__, tomato_dao.__file__
assert len(migrate()) > 0
with tomato_dao.connect() as db:
    print(db.organizations.create("from a wheel").name)
"""


def needs(requirement: Requirement) -> Iterator[metadata.Distribution]:
    """What a requirement brings along, itself too, as it is installed here."""
    found = metadata.distribution(requirement.name)
    yield found
    for needed in map(Requirement, found.requires or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield from needs(needed)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has only the wheel and what it says that it needs."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", place, CHECKOUT], check=True)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env")
    python = place / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "-qq", "--no-deps", "--no-index", wheel], check=True)
    (site,) = place.glob("env/lib/*/site-packages")
    (installed,) = metadata.distributions(path=[str(site)])
    for needed in map(Requirement, installed.requires or ()):
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            for distribution in needs(needed):
                for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
                    if not (site / top).exists():
                        (site / top).symlink_to(str(distribution.locate_file(top)))
    return python


def use(python: Path, url: str, dbmate: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "DBMATE": dbmate, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([python, "-I", "-c", USE], cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_it_migrates_connects_and_runs_a_query(python: Path, tomato_server_url: str, tmp_path: Path) -> None:
    dbmate = os.environ.get("DBMATE") or next((CHECKOUT / "node_modules" / "@dbmate").glob("*/bin/dbmate"), None)
    if dbmate is None:
        pytest.skip("needs DBMATE or the dbmate that npm brings")
    with scratch_database(tomato_server_url, migrated=False) as url:
        done = use(python, url, str(dbmate))
    assert (done.returncode, done.stdout) == (0, "from a wheel\n"), done.stderr


def test_without_dbmate_migrating_says_what_is_needed(python: Path, tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        done = use(python, url, "")
    assert "migrations need dbmate 2: put it on PATH, or name it in DBMATE" in done.stderr


def test_without_a_server_it_says_what_is_needed(python: Path) -> None:
    done = use(python, "", "")
    assert "DATABASE_URL is not set, and there is no embedded server" in done.stderr
