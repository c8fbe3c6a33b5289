"""The doctor's pages in docs/operations.md, and the tables of docs/reference/doctor.md, are what it prints.

`WRITE_PAGES=1 pytest tests/ops/test_doctor_page.py` writes the pages anew.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.fixtures.sick import SETTINGS, configured
from tests.helpers.doctor_cases import FAULTS, made
from tomato_dao import connect
from tomato_dao.ops import doctor, embedded, programs
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.examinations import examine
from tomato_dao.ops.examinations.server import NEWEST
from tomato_dao.ops.roles import make_roles
from tomato_dao.ops.scratch import scratch_database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not programs.library("pg_stat_statements"), reason="the pages show the slowest queries"),
]
OPERATIONS, REFERENCE = CHECKOUT / "docs" / "operations.md", CHECKOUT / "docs" / "reference" / "doctor.md"
SICK = (
    "fsync off",
    "prepared transaction",
    "duplicate index",
    "constraint not valid",
    "disabled trigger",
    "sequence with a limit",
    "another collation",
    "slot that nobody reads",
    "leases that nobody takes up",
    "accounting that settles nothing",
)


@pytest.fixture(scope="module")
def sick_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Provide a database on a server on which nothing has happened yet."""
    directory = tmp_path_factory.mktemp("shown")
    try:
        with scratch_database(configured(directory, SETTINGS)) as url:
            make_roles(url)
            yield url
    finally:
        embedded.remove(directory)


@pytest.fixture(autouse=True)
def _lasting_figures(sick_url: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing depend on the machine: its disk, its environment, and how new its PostgreSQL is."""
    with psycopg.connect(sick_url) as connection:
        monkeypatch.setitem(NEWEST, *divmod(connection.info.server_version, 10000))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=5_000_000, f_blocks=10_000_000, f_frsize=4096))
    monkeypatch.setenv("DATABASE_URL", sick_url)
    monkeypatch.delenv("OWNER_DATABASE_URL", raising=False)
    back_up(sick_url)


def page(url: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the doctor prints while a worker's pool is open, with names that are the same everywhere."""
    capsys.readouterr()
    with connect(url, pool_size=1, application_name="tomato-backend") as db:
        db.organizations.list()
        with pytest.raises(SystemExit):
            doctor.main("doctor", [])
    with psycopg.connect(url) as connection:
        home, name = Path(connection.info.host).parent, connection.info.dbname
    names = ((str(saved), "/srv/tomato/backups"), (str(home), "/srv/tomato"), (name, "tomato"))
    text = capsys.readouterr().out
    for here, shown in names:
        text = text.replace(here, shown)
    return re.sub(r" +$", "", text, flags=re.MULTILINE).strip()


def assert_shown(name: str, text: str) -> None:
    """Hold a page against what the documentation shows, but for figures; write it there, if that is wanted."""
    found = re.search(rf"(?<=<!-- doctor: {name} -->\n\n).*?(?=\n\n<!-- end -->)", OPERATIONS.read_text("utf-8"), re.DOTALL)
    assert found
    if os.environ.get("WRITE_PAGES"):
        shown = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        whole = OPERATIONS.read_text("utf-8")
        OPERATIONS.write_text(whole[: found.start()] + shown + whole[found.end() :], "utf-8")
    else:
        assert masked(found[0]) == masked(text), "run WRITE_PAGES=1 pytest tests/ops/test_doctor_page.py"


def masked(text: str) -> list[str]:
    """Return the lines without figures, units of time, plurals, width of columns, largest tables, queries."""
    without = re.sub(r"\b0 (s|min|h|days)\b", "0 s", re.sub(r"\d[\d,.]*", "0", text))
    without = re.sub(r"\b0-0-0 0:0\b", "0", without)  # a date
    lines = [re.sub(r" +", " ", line).strip() for line in re.sub(r"\b0 (\w+?)(?:es|s)\b", r"0 \1", without).splitlines()]
    return ["(a table)" if line.endswith("0 dead") else line for line in lines if not line.endswith("0 ms each")]


def test_the_page_of_a_healthy_server_is_shown(sick_url: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(sick_url, saved, capsys)
    assert not re.search("^(BAD|note|\\?)", text, re.MULTILINE), text
    assert_shown("healthy", text)


def test_the_page_of_a_sick_server_is_shown(
    sick: psycopg.Connection, sick_url: str, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=400_000, f_blocks=10_000_000, f_frsize=4096))
    with ExitStack() as faults:
        for name in SICK:
            faults.enter_context(made(sick, FAULTS[name]))
        text = page(sick_url, saved, capsys)
    assert_shown("sick", text)


def test_the_reference_names_each_topic_and_all_figures(sick: psycopg.Connection) -> None:
    table = re.findall(r"^\| (\w+) \|.*\| ([\w, ]+) \|$", REFERENCE.read_text("utf-8"), re.MULTILINE)
    shown = {topic: set(figures.split(", ")) for topic, figures in table if topic != "topic"}
    told = {finding.topic: set(finding.figures) for finding in examine(sick, 1)}
    told["queries"] = {"slowest"}  # where pg_stat_statements is not installed, there is none
    assert {topic: shown.get(topic) for topic in told} == told
