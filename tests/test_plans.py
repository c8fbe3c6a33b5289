"""Plans at size: each list, claim and role finds its rows among 100,000 topologies and 1,000,000 elements by index."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from tomato_dao.database import QUERIES
from tomato_dao.ops.scratch import scratch_database

LARGE = ("topologies", "topology_permissions", "elements", "connections", "host_elements")
MOST_SORTED = 2000  # rows, as the planner estimates them

# Half of the topologies are due for something, a hundredth of the machines for a look, a thousandth of host elements orphans.
FILL = """
alter table connections disable trigger user;
insert into organizations (id, name) overriding system value select n, n from generate_series(1, 50) n;
insert into sites (id, name, organization_id) overriding system value select n, n, n from generate_series(1, 50) n;
insert into hosts (id, name, address, rpcurl, site_id) overriding system value
select n, n, n, n, 1 + n % 50 from generate_series(1, 300) n;
insert into users (id, name, organization_id, flags, usage_id) overriding system value
select n, n, 1 + n % 50, case when n % 100 = 0 then array['orga_topl_owner'] else '{}' end, null
from generate_series(1, 10000) n;
insert into topologies (id, name, timeout_at, timeout_step, usage_id) overriding system value
select n, n, now() + (n % 100 - 50) * interval '1 day', (array[0, 9, 10, 20])[1 + n % 4], null
from generate_series(1, 100000) n;
insert into topology_permissions
select n, 1 + n % 10000, 'owner' from generate_series(1, 100000) n
union all
select n, 1 + (n + 7) % 10000, 'user' from generate_series(1, 100000) n;
insert into connections (id, topology_id, usage_id) overriding system value
select n, n, null from generate_series(1, 100000) n;
insert into elements (id, topology_id, type, parent_id, next_sync_at, usage_id) overriding system value
select
  n, 1 + (n - 1) / 10, case n % 2 when 1 then 'kvmqm' else 'kvmqm_interface' end, case n % 2 when 0 then n - 1 end,
  case n % 100 when 1 then now() end, null
from generate_series(1, 1000000) n;
insert into host_elements (host_id, num, element_id, type, state, usage_id)
select 1 + n % 300, n, case when n % 1000 > 0 then 2 * n + 1 end, 'kvmqm', 'started', null from generate_series(1, 100000) n;
"""


@pytest.fixture(scope="module")
def server(tomato_server_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a large database. It has no foreign keys, which would only slow the filling down."""
    with scratch_database(tomato_server_url) as url, psycopg.connect(url, autocommit=True) as connection:
        keys = connection.execute("select conrelid::regclass::text, conname from pg_constraint where contype = 'f'").fetchall()
        for table, name in keys:
            connection.execute(f"alter table {table} drop constraint {name}")
        indexes = connection.execute(
            "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
            " where indrelid = 'elements'::regclass and not indisunique"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"drop index {name}")
        connection.execute(FILL)
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("vacuum analyze")
        connection.execute("set plan_cache_mode = force_generic_plan")
        yield connection


def test_lists_claims_and_roles_use_indexes(server: psycopg.Connection) -> None:
    names = [name for name in QUERIES if re.search(r"\.(list|claim|matrix|role)", name)]
    assert len(names) > 40
    bad = []
    for name in names:
        server.pgconn.prepare(b"asked", QUERIES[name].sql.encode())
        values = ", ".join(["null"] * server.pgconn.describe_prepared(b"asked").nparams)
        rows = server.execute(f"explain execute asked({values})" if values else "explain execute asked").fetchall()
        plan = "\n".join(line for (line,) in rows)
        read = re.findall(rf"Seq Scan on ({'|'.join(LARGE)})\b", plan)
        most = max(map(int, re.findall(r"Sort +\(cost=\S+ rows=(\d+)", plan)), default=0)
        if read or most > MOST_SORTED:
            bad.append(f"{name} reads all of {read} and sorts up to {most} rows:\n{plan}")
        server.execute("deallocate asked")
    assert not bad, "\n\n".join(bad)
