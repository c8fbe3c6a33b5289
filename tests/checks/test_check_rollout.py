"""check-rollout: headers that are not true, new code that starts before a contract migration, and bases to compare with."""

from pathlib import Path

import pytest

from checks import headers, release, rollout
from checks.described import schema_connection
from checks.release import Part, Statement, promised
from tests.helpers.rollout_cases import CONTRACT, EXPAND, Rollout
from tomato_dao import NotFound, rows
from tomato_dao.database import QUERIES
from tomato_dao.server import rolling
from tomato_dao.sql import query_files

pytestmark = pytest.mark.slow
CHOSEN = ("organizations.", "key_values.", "tasks.")


@pytest.fixture(scope="module")
def base() -> release.Release:
    """Provide the contract of some of this code's queries, without a testbed's rows."""
    queries = [query for query in QUERIES.values() if query.name.startswith(CHOSEN)]
    with schema_connection() as connection:
        made = release.contract("1.0.0", promised(connection, queries, 100))
    return release.Release(made.version, made.migrations, made.queries, testbed="")


@pytest.fixture
def rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    found = Rollout(tmp_path, monkeypatch)
    found.newer()
    return found


def checked(base: release.Release, directory: Path) -> list[str]:
    """Return the findings, each from its file's name on, with the queries of a directory as the newer code's."""
    queries = [
        query for query in query_files.load(directory / "queries", rows.CLASSES).values() if query.name.startswith(CHOSEN)
    ]
    return [line.rpartition("migrations/")[2] for line in rollout.check(base, 100, queries, plans=False)]


def test_true_headers_give_no_findings_but_queries_that_need_what_went(base: release.Release, rolled: Rollout) -> None:
    found = checked(base, rolled.directory / "db")
    assert found == []


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            "contract",
            ("-- breaks: older code reads image_url\n-- backfill: fill", "-- compatible: {oldest}"),
            "but breaks code of 1.0.0: organizations.",
        ),
        ("contract", ("alter table organizations drop column image_url;", "insert into tasks values ('a', now());"), ""),
        ("contract", ("-- backfill: fill", "-- backfill: gone"), "unknown backfill"),
        ("contract", ("oldest supported schema version: 2", "oldest supported schema version: 1"), "the database names 1999"),
        (
            "expand",
            ("-- compatible: {oldest}", "-- breaks: all"),
            "the database names {oldest} as the oldest supported version",
        ),
        ("expand", ("-- compatible: {oldest}", ""), "must say either"),
        ("expand", ("-- compatible: {oldest}", "-- compatible: 1.0.0"), "names the version of a migration"),
    ],
)
def test_a_wrong_header_is_reported(
    base: release.Release, rolled: Rollout, file: str, change: tuple[str, str], said: str
) -> None:
    path = rolled.directory / "db" / "migrations" / f"{EXPAND if file == 'expand' else CONTRACT}_{file}.sql"
    before, after = (text.format(oldest=rolled.oldest) for text in change)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    faults = headers.header_faults(rolling.migrations(), list(base.migrations))
    found = [line.rpartition("migrations/")[2] for line in faults] or checked(base, rolled.directory / "db")
    if said:
        assert said.format(oldest=rolled.oldest) in found[0]
        assert found[0].startswith(f"{path.name}:")
    else:
        assert found == []


def test_new_code_that_needs_a_contract_migration_is_reported(base: release.Release, rolled: Rollout) -> None:
    migration = rolled.directory / "db" / "migrations" / f"{CONTRACT}_contract.sql"
    migration.write_text(migration.read_text().replace("drop column image_url", "rename column image_url to picture"))
    queries = rolled.directory / "db" / "queries" / "organizations.sql"
    queries.write_text(queries.read_text().replace("o.image_url", "o.picture"))
    found = checked(base, rolled.directory / "db")
    assert "new code starts before it, but organizations.get does not work then: column o.picture does not exist" in found[0]


def test_a_contract_is_read_as_it_was_written(base: release.Release, tmp_path: Path) -> None:
    release.write(base, tmp_path)
    assert release.versions(tmp_path) == ["1.0.0"]
    assert release.read("1.0.0", tmp_path) == base
    with pytest.raises(NotFound, match=r"there is no release '2\.0\.0'"):
        release.read("2.0.0", tmp_path)


@pytest.mark.parametrize(
    ("was", "said"),
    [
        (Statement("x", 1, "", columns=[Part("name", "text")]), None),
        (Statement("x", 1, "", columns=[Part("name", "varchar")]), None),
        (Statement("x", 1, "", columns=[Part("name", "int4")]), "name is of text, and was of int4"),
        (Statement("x", 1, "", columns=[Part("label", "text")]), "it returns the columns name, and returned label"),
        (Statement("x", 1, "", columns=[Part("name", "text")], at_most_one_row=True), "it may return several rows"),
    ],
)
def test_differences_of_a_statement_are_reported(was: Statement, said: str | None) -> None:
    sql = "select o.name from organizations o"
    with schema_connection() as connection:
        statement = Statement(was.file, was.line, sql, columns=was.columns, at_most_one_row=was.at_most_one_row)
        found = [str(difference) for difference in release.differences(connection, {"x.list": statement}, 100)]
    assert (found == []) if said is None else found[0].startswith(f"x.list: {said}")


def test_a_base_that_is_neither_a_release_nor_a_ref_is_refused() -> None:
    with pytest.raises(NotFound, match=r"neither a release of db/releases .* nor a git ref"):
        rollout.base_of("no-such-ref")
