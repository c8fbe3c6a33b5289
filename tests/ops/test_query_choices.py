"""bin/query with optional parameters and orders."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tomato_dao import Database
from tomato_dao.database import QUERIES
from tomato_dao.ops import query
from tomato_dao.ops.query import main
from tomato_dao.sql.query_files import load

Ask = Callable[..., str]

THINGS = """-- name: list(site_id, organization_id, limit)
-- optional: site_id, organization_id
-- nullable: organization_id
-- order: name = h.name
-- order: latest = h.id desc
-- Names of hosts.
select h.name
from hosts h
inner join sites s on s.id = h.site_id
where true
  and h.site_id = :site_id -- if: site_id
  and s.organization_id is not distinct from :organization_id -- if: organization_id
order by h.name -- order
limit :limit;
"""


@pytest.fixture
def ask(
    tomato_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    db: Database,
    world: World,
) -> Ask:
    """Runs bin/query on two hosts of a site: what it prints, or its error."""
    (tmp_path / "things.sql").write_text(THINGS, "utf-8")
    monkeypatch.setattr(query, "QUERIES", {**QUERIES, **load(tmp_path)})
    monkeypatch.setenv("DATABASE_URL", tomato_url)
    db.hosts.create("host2", address="10.0.0.2", rpcurl="ssl+jsonrpc://10.0.0.2:8003", site_id=world.site.id)

    def run(*arguments: str) -> str:
        try:
            main("bin/query", arguments)
        except SystemExit:
            return capsys.readouterr().err.splitlines()[-1].removeprefix("bin/query: error: ")
        return capsys.readouterr().out

    return run


def test_query_takes_filters_and_an_order(ask: Ask, world: World) -> None:
    def names(*arguments: str) -> list[str]:
        return [row["name"] for row in json.loads(ask("things.list", "limit=10", "--json", *arguments))]

    site = f"site_id={world.site.id}"
    assert names() == names(site) == names(site, "order=name") == ["host1", "host2"]
    assert names("order=latest") == ["host2", "host1"]
    assert names("site_id=0", "order=latest") == names("--null", "organization_id") == []
    assert names(f"organization_id={world.organization.id}") == ["host1", "host2"]


def test_query_shows_filters_and_orders(ask: Ask) -> None:
    takes = "[site_id=…] [organization_id=…] limit=… [order=name|latest]"
    assert ask("things.list") == f"things.list needs limit=… as well; it takes {takes}"
    assert ask("things.list", "limit=1", "name=x") == f"things.list takes {takes}, not 'name=x'"
    (line,) = [line for line in ask().splitlines() if line.startswith("things.list ")]
    assert line == f"things.list {takes}  Names of hosts."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order=age"], "thing: 'age' is not an order of things.list: name and latest"),
        (["order=name", "order=name"], "things.list: order is given twice"),
        (["--null", "site_id"], "things.list: site_id can't be null"),
        (["--null", "organization_id", "organization_id=1"], "things.list: organization_id is given twice"),
        (["site_id=x"], 'things.list: site_id: invalid input syntax for type bigint: "x"'),
    ],
)
def test_query_calls_a_wrong_choice_misuse(ask: Ask, arguments: list[str], said: str) -> None:
    assert ask("things.list", "limit=1", *arguments) == said


def test_query_of_a_real_list_takes_its_filter(ask: Ask, world: World) -> None:
    assert "2 rows" in ask("hosts.list", "limit=5", f"site_id={world.site.id}")
    assert ask("hosts.list", "limit=5", "site_id=0") == "no rows\n"
    assert "[order=id|name]" in ask("hosts.list")
