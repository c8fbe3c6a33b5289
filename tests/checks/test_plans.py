"""The reading of plans: a limit takes rows of the node that it reads, not of a subquery that runs before it."""

from pathlib import Path

import psycopg
import pytest

from checks import plans
from tomato_dao.rows import CLASSES
from tomato_dao.sql.query_files import load

PLANS = {
    "a page after what a subquery finds": (
        "select i.id from network_instances i where i.id > (select n.id from networks n where n.kind = :kind)"
        " order by i.id limit 100",
        [],
    ),
    "a subquery that reads everything": (
        "select i.id from network_instances i where i.id > (select count(*) from network_instances x"
        " where x.attrs::text > :kind) order by i.id limit 100",
        ["scans all of network_instances"],
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_limit_takes_rows_of_what_it_reads_not_of_a_subquery_before_it(
    server: psycopg.Connection, tmp_path: Path, case: str
) -> None:
    if server.info.server_version < 160000:
        pytest.skip("PostgreSQL shows generic plans since version 16")
    sql, expected = PLANS[case]
    (tmp_path / "pages.sql").write_text(f"-- name: q(kind)\n{sql};\n", "utf-8")
    (query,) = load(tmp_path, CLASSES).values()
    server.execute("set session_replication_role = replica")
    server.execute("insert into network_instances (host_id, bridge) select 1, n::text from generate_series(1, 20000) n")
    server.execute("analyze network_instances")
    assert plans.wasteful(server, query, 1000) == expected
