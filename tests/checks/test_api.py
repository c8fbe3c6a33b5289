"""The Python API against the last release's: what breaks callers is told, what they do not notice is not."""

from pathlib import Path

import msgspec
import pytest

from checks import api

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def now() -> api.Snapshot:
    return api.snapshot()


def changed(now: api.Snapshot, module: str, before: str, after: str) -> api.Snapshot:
    """Return the snapshot of an earlier release, in which a module was otherwise."""
    path = f"tomato_dao/{module}.py"
    assert before in now.modules[path]
    return msgspec.structs.replace(now, modules=now.modules | {path: now.modules[path].replace(before, after)})


def test_breakages_of_the_public_api_are_reported_and_nothing_else(now: api.Snapshot) -> None:
    older = now
    for module, now_it_is, it_was in (
        ("dao/hosts", "def get_by_name(", "def by_name("),
        ("dao/users", "def get(self, id: int)", "def get(self, id: int, more: int=0)"),
        ("connecting", "pool_size: int=8", "pool_size: int=9"),
        ("dao/hosts", "class Hosts", "class _Other: ...\n\nclass Hosts"),
        ("dao/sites", "def get(self, id: int)", "def get(self, id: int, /)"),
        ("printable", "def printable(", "def unlisted("),
    ):
        older = changed(older, module, now_it_is, it_was)
    assert list(api.breakages(older)) == [
        "tomato_dao.connecting.connect: connect(pool_size): Parameter default was changed: 9 -> 8",
        "tomato_dao.connecting.connect_async: connect_async(pool_size): Parameter default was changed: 9 -> 8",
        "tomato_dao.dao.hosts.Hosts.by_name: Hosts.by_name: Public object was removed",
        "tomato_dao.dao.users.Users.get: Users.get(more): Parameter was removed",
    ]


def test_an_accepted_breakage_passes_and_a_needless_one_does_not(now: api.Snapshot, tmp_path: Path) -> None:
    older = changed(now, "dao/hosts", "def get_by_name(", "def by_name(")
    (tmp_path / "0.0.9.json").write_bytes(msgspec.json.encode(older))
    (line,) = api.findings(tmp_path)
    (tmp_path / api.ACCEPTED).write_text(f"# why\n{line}\nno.such: breakage\n")
    assert api.findings(tmp_path) == ["no.such: breakage: it is accepted, but is no breakage"]
