"""The demo of the README does what it prints."""

import re
import sys

import pytest

from demo import __main__ as demo
from tests.conftest import CHECKOUT
from tomato_dao.ops.scratch import drop_database, with_database

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]


def test_an_imported_topology_is_exported_dumped_and_loaded(
    tomato_server_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", tomato_server_url)
    monkeypatch.setattr(demo, "IMPORTS", 8)
    monkeypatch.setattr(demo, "THREADS", 4)
    monkeypatch.setattr(sys, "argv", ["demo", str(CHECKOUT / "demo" / "topologies")])
    try:
        demo.main()
    finally:
        for name in (demo.NAME, f"{demo.NAME}_copy"):
            drop_database(with_database(tomato_server_url, name))
    said = capsys.readouterr().out
    assert re.search(r"^topologies +8 ", said, re.M)
    assert re.search(r"^server connections +[1-8] ", said, re.M)
    assert "its dump is the same to the byte" in said


def test_a_topology_that_comes_out_differently_is_reported() -> None:
    assert demo._holds({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    assert not demo._holds({"a": 1, "b": [{"c": 2}, 0]}, {"b": [{"c": 2}]})
    assert not demo._holds({"a": 1}, {"a": 2})
