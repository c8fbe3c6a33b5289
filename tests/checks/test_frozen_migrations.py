"""Released migrations are frozen: make check refuses a change to one by name."""

from pathlib import Path

import pytest

from checks import migration_lint
from checks.migration_lint import unfrozen
from tests.conftest import CHECKOUT
from tomato_dao import TomatoError
from tomato_dao.server import schema

NAMES = ["20270101000000_a.sql", "20270201000000_b.sql"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Provide a directory of two released migrations."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    released = ["# frozen"]
    for name in NAMES:
        (directory / name).write_text(f"-- migrate:up\nselect '{name}';\n-- migrate:down\n")
        released.append(f"{schema.file_hash(directory / name)}  {name}")
    (directory / "released.sha256").write_text("\n".join([*released, ""]))
    return directory


def told(directory: Path) -> list[tuple[str, str]]:
    """Return the faults, each with the name of its file."""
    pairs = [line.split(": ", 1) for line in unfrozen(directory)]
    return [(Path(file).name, fault) for file, fault in pairs]


def test_released_migrations_as_they_were_and_later_ones_are_fine(directory: Path) -> None:
    (directory / "20270301000000_c.sql").write_text("-- migrate:up\n")
    assert told(directory) == []


def test_other_files_among_migrations_are_ignored_or_named(directory: Path) -> None:
    named = ["20270201000000_b (1).sql", "20270301000000_C.sql", "scratch.sql"]
    for name in [*named, "._x.sql", "20270201000000_b.sql~"]:
        (directory / name).write_text("select nonsense")
    (directory / ".#x.sql").symlink_to("somebody@nowhere.1")
    (directory / "20270101000000_again.sql").write_text("-- migrate:up\n")
    assert [path.name for path in schema.files(directory)] == sorted([*NAMES, "20270101000000_again.sql"])
    names = [Path(line.partition(": ")[0]).name for line in migration_lint.misnamed(directory)]
    assert names == [*named, "20270101000000_a.sql", "20270101000000_again.sql"]


def test_an_edited_released_migration_is_refused_by_name(directory: Path) -> None:
    with (directory / NAMES[0]).open("a") as file:
        file.write("-- a comment\n")
    assert told(directory) == [
        (NAMES[0], "it was edited after its release: restore it, and make the change in a new migration")
    ]


def test_a_missing_released_migration_is_refused_by_name(directory: Path) -> None:
    (directory / NAMES[1]).rename(directory / "20270201000000_renamed.sql")
    assert (NAMES[1], "a released migration is missing: restore the file") in told(directory)


def test_a_new_migration_before_a_released_one_is_refused_by_name(directory: Path) -> None:
    (directory / "20270115000000_between.sql").write_text("-- migrate:up\n")
    assert told(directory) == [
        ("20270115000000_between.sql", f"it comes before the released {NAMES[1]}: give it a later version")
    ]


def test_a_list_out_of_order_or_damaged_is_refused(directory: Path) -> None:
    file = directory / "released.sha256"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert told(directory) == [("released.sha256", "its lines are not in the order of the versions")]
    file.write_text("abc\n")
    assert told(directory) == [("released.sha256", "a line must have a hash and a file name, not 'abc'")]


def test_this_checkouts_released_migrations_are_frozen() -> None:
    assert unfrozen(CHECKOUT / "db" / "migrations") == []


def test_make_check_refuses_an_edited_released_migration(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schema, "DB_DIR", directory.parent)
    migration_lint.main()
    (directory / NAMES[0]).write_text("-- migrate:up\nselect 1;\n-- migrate:down\n")
    with pytest.raises(TomatoError, match=r"^released migrations never change: 1 fault$"):
        migration_lint.main()
    assert f"{NAMES[0]}: it was edited after its release" in capsys.readouterr().err
