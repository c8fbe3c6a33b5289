"""Mutation runs: of a tiny package whose tests are known, and the seeder of SQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks.mutants import python, sql
from checks.mutants.mutant import named
from checks.mutants.reach import reaching
from checks.mutants.results import accepted
from checks.mutants.settings import Settings
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.slow

PACKAGE = """
def fee(amount, *, free=10):
    if amount < free:
        return 0
    return amount - free


def unseen(amount):
    return amount + 1
"""
TESTS = """
import pytest
from tiny.fees import fee


@pytest.mark.parametrize(("amount", "expected"), [(9, 0), (12, 2)])
def test_fees_are_what_is_above_ten(amount, expected):
    assert fee(amount) == expected
"""
CONFIG = '[python]\nfees = ["tiny/fees.py"]\n[tests]\nfiles = "tests/test_*.py"\npreload = ["hypothesis"]\n'
SURVIVOR = "tiny/fees.py::fee: `<` -> `<=` in `if amount < free:`"
EQUIVALENT = f"{SURVIVOR}\n  At the limit there is nothing to pay either way.\n"
UNSEEN = ["`return amount + 1` -> `return None`", "`+` -> `-` in `return amount + 1`", "`1` -> `2` in `return amount + 1`"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Provide a checkout of a package with two functions, of which one is tested."""
    for name, text in {
        "tiny/__init__.py": "",
        "tiny/fees.py": PACKAGE,
        "tests/test_fees.py": TESTS,
        "tiny.toml": CONFIG,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def mutants(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checks.mutants", "--root", str(root), "--config", str(root / "tiny.toml"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=300, check=False)


def accept(root: Path, text: str) -> None:
    (root / "tests" / "checks" / "mutants").mkdir(parents=True, exist_ok=True)
    (root / "tests" / "checks" / "mutants" / "accepted.txt").write_text(text)


def test_survivors_are_named_and_the_tree_is_left_alone(tiny: Path) -> None:
    done = mutants(tiny, "--workers", "1", "--seed", "1")
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("survived: ")]
    assert sorted(told) == sorted(f"survived: {name}" for name in [SURVIVOR, *(f"tiny/fees.py::unseen: {u}" for u in UNSEEN)])
    assert "no test runs it" in done.stdout
    # killed: 10 -> 11, 0 -> 1, return None, - -> +; the last column is seconds
    assert done.stdout.splitlines()[-1].split()[:-1] == ["fees", "8", "8", "4", "0", "4", "0", "0", "50.0"]
    assert (tiny / "tiny" / "fees.py").read_text() == PACKAGE

    # The results are kept: nothing is tried again, and what is accepted counts no more.
    killed = "tiny/fees.py::fee: `-` -> `+` in `return amount - free`\n  It was thought to be the same.\n"
    unseen = "".join(f"tiny/fees.py::unseen: {name}\n  Nobody calls it.\n" for name in UNSEEN)
    accept(tiny, EQUIVALENT + unseen)
    again = mutants(tiny)
    assert (again.returncode, again.stdout.splitlines()[-1].split()[3:9]) == (0, ["4", "0", "4", "4", "0", "100.0"])
    assert "8 mutants, 0 of them to try" in again.stderr
    by = "killed by tests/test_fees.py::test_fees_are_what_is_above_ten[12-2]"
    gone = "tiny/fees.py::fee: `gone` -> `pass`\n  It was there once.\n"
    for more, message in (
        (killed, f"accepted, but {by}: remove it from the accepted ones: {killed.splitlines()[0]}"),
        (gone, f"accepted, but there is no such mutant (any more): remove it: {gone.splitlines()[0]}"),
    ):
        accept(tiny, EQUIVALENT + unseen + more)
        stale = mutants(tiny)
        assert (stale.returncode, message in stale.stdout) == (1, True), stale.stdout


def test_a_constant_that_only_another_is_made_from_is_tried_by_the_modules_tests(tiny: Path) -> None:
    text = "FREE = 10\nLEAST = FREE\n\n\ndef fee(amount):\n    return max(amount - LEAST, 0)\n"
    (tiny / "tiny" / "fees.py").write_text(text)
    done = mutants(tiny, "--workers", "1")
    # killed: 10 -> 11, return None, max -> min, - -> +; 0 -> 1
    assert done.stdout.splitlines()[-1].split()[:-1] == ["fees", "5", "5", "5", "0", "0", "0", "0", "100.0"]


def test_a_constant_is_tried_by_the_tests_that_use_it(tiny: Path) -> None:
    """And not by those whose subprocesses only import its module."""
    (tiny / "tiny" / "fees.py").write_text("FREE = 10\n\n\ndef fee(amount):\n    return max(amount - FREE, 0)\n")
    text = "import subprocess, sys\n\n\ndef test_import():\n"
    text += '    subprocess.run([sys.executable, "-c", "import tiny.fees"], check=True)\n'
    (tiny / "tests" / "test_import.py").write_text(text)
    done = mutants(tiny, "--workers", "1")
    # killed: 10 -> 11, return None, max -> min, - -> +, 0 -> 1
    assert done.stdout.splitlines()[-1].split()[:-1] == ["fees", "5", "5", "5", "0", "0", "0", "0", "100.0"]


@pytest.mark.slow
def test_a_run_stays_away_from_its_users_data(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    note = f"import os, pathlib\npathlib.Path({str(seen)!r}).write_text(' '.join(os.environ))\n"
    (tiny / "tests" / "conftest.py").write_text(note)
    for name in ("TOMATO_DATA_DIR", "DATABASE_URL"):
        monkeypatch.setenv(name, os.fspath(tmp_path / "mine"))
    mutants(tiny, "--workers", "1", "--seconds", "1")
    assert not {"TOMATO_DATA_DIR", "DATABASE_URL"} & set(seen.read_text().split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "soon"], "SECONDS is a number of seconds from 1 to 86400, not 'soon'"),
        (["--seconds", "0"], "SECONDS is a number of seconds from 1 to 86400, not '0'"),
        (["--seed", "x"], "SEED is a number, not 'x'"),
        (["nope"], "no module is called nope; there are fees"),
    ],
)
def test_misuse_is_reported(tiny: Path, arguments: list[str], message: str) -> None:
    done = mutants(tiny, *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_survivor_is_not_accepted_without_a_reason(tiny: Path) -> None:
    accept(tiny, f"# known\n{SURVIVOR}\n")
    with pytest.raises(ValueError, match="no reason stands below"):
        accepted(tiny / "tests" / "checks" / "mutants" / "accepted.txt")
    assert mutants(tiny).returncode == 2


def test_accepted_survivors_are_still_mutants() -> None:
    of_checkout = Settings.read(CHECKOUT)
    names = {mutant.name for mutant in of_checkout.mutants(of_checkout.modules())}
    assert [name for name in accepted(CHECKOUT / "tests/checks/mutants/accepted.txt") if name not in names] == []


def test_names_stay_when_lines_move() -> None:
    first = [mutant.name for mutant in named("m", "python", "a.py", PACKAGE, python.changes(PACKAGE))]
    text = "import os\n\n" + PACKAGE
    assert [mutant.name for mutant in named("m", "python", "a.py", text, python.changes(text))] == first
    assert len(set(first)) == len(first)


QUERY = """-- name: claim(limit)
-- Some hosts.
select distinct h.id, coalesce(h.load, 0) as load
from hosts h
left join sites s on s.id = h.site_id
where h.id > 7 and (s.name is null or s.at <= now() - interval '15 minutes')
order by h.id desc
limit :limit
for update of h skip locked;
"""
EITHER = "(s.name is null or s.at <= now() - interval '15 minutes')"
CHANGES = {
    ("distinct", ""),
    (", 0", ""),
    ("0", "1"),
    ("left join", "inner join"),
    ("s.id = h.site_id", "(s.id = h.site_id or true)"),
    ("h.id > 7", "(h.id > 7 or true)"),
    (">", ">="),
    ("7", "8"),
    (EITHER, f"({EITHER} or true)"),
    ("is null", "is not null"),
    ("or", "and"),
    ("<=", "<"),
    ("-", "+"),
    ("'15 minutes'", "'16 minutes'"),
    ("order by h.id desc", ""),
    ("desc", "asc"),
    (":limit", "1000 + :limit"),
    ("for update of h skip locked", ""),
    ("skip locked", ""),
}


def test_the_changes_of_a_query_are_known() -> None:
    (piece,) = sql.queries(QUERY)
    found = [(QUERY[change.start : change.end].strip(), change.new) for change in sql.changes(QUERY, piece)]
    assert len(found) == len(CHANGES)
    assert set(found) == CHANGES


FUNCTIONS = """-- migrate:up
create table p (id int primary key);
create table t (
  id int default 1,
  p_id int references p on delete cascade
);
create function one() returns int language sql
begin atomic
  select 1;
  select 2;
end;
create function refuse() returns trigger language plpgsql as $$
begin
  perform one();
  return null;
end;
$$;
create trigger t_refused after delete on t
for each row when (old.id <> 3) execute function refuse();
-- migrate:down
create function gone() returns int language sql return 4;
"""


def test_functions_and_triggers_are_changed_and_tables_are_not() -> None:
    found = {
        (piece.name, FUNCTIONS[change.start : change.end].strip(), change.new)
        for piece in sql.objects(FUNCTIONS)
        for change in sql.changes(FUNCTIONS, piece)
    }
    assert found == {
        ("one", "1", "2"),
        ("one", "2", "3"),
        ("refuse", "perform one()", "null"),
        ("t_refused", "(old.id <> 3)", "((old.id <> 3) or true)"),
        ("t_refused", "<>", "="),
        ("t_refused", "3", "4"),
    }


def test_functions_that_a_later_migration_drops_are_not_changed(tmp_path: Path) -> None:
    function = "create function {}() returns int language sql return {};\n"
    first = function.format("gone", 1) + function.format("new", 2) + function.format("kept", 3)
    second = "drop function gone();\ndrop function new();\n" + function.format("new", 4)
    second += "-- migrate:down\ndrop function kept();\n"
    for name, text in (("1.sql", first), ("2.sql", second)):
        (tmp_path / name).write_text(text)
    settings = Settings(tmp_path, {}, {"functions": ["*.sql"]}, "", [], [], "")
    found = [(mutant.path, mutant.change.scope, mutant.change.new) for mutant in settings.mutants(["functions"])]
    assert found == [("1.sql", "kept", "4"), ("2.sql", "new", "5")]


QUERIES = """-- name: delete(id)!
-- One.
delete from t where id = :id;

-- name: clear()!
-- All, with what belongs to them.
delete from p;

-- name: list()
-- All.
select id from t;
"""


def test_a_function_is_reached_by_queries_that_fire_its_trigger() -> None:
    reached = reaching({"db/queries/ts.sql": QUERIES, "db/migrations/1.sql": FUNCTIONS})
    assert reached == {name: {"ts.delete", "ts.clear"} for name in ("one", "refuse", "t_refused")}


def test_triggers_of_one_name_on_several_tables_are_told_apart() -> None:
    second = "create trigger t_refused after delete on s\nfor each row execute function refuse();\n"
    reached = reaching({"db/queries/ts.sql": QUERIES, "db/migrations/1.sql": FUNCTIONS, "db/migrations/2.sql": second})
    assert reached == {name: {"ts.delete", "ts.clear"} for name in ("one", "refuse", "t_refused")}
