"""A database with a few rows of every table, of the dump that is kept of the first release."""

import psycopg
from psycopg import sql

from checks.cut import KEPT
from tests.transfer.test_kept_dumps import loaded
from tomato_dao.transfer import catalog

_DELETE = """
do $do$ declare each tid; begin
  for each in select ctid from {table} order by ctid offset 3 loop
    begin
      delete from {table} where ctid = each;
    exception when foreign_key_violation then null;
    end;
  end loop;
end $do$
"""


def fill(url: str) -> None:
    """Load the kept dump into an empty database, and leave three rows of each table, and what they refer to."""
    loaded(url, KEPT / "dump-1.0.0.json.zst")
    with psycopg.connect(url) as connection:
        tables = catalog.tables(connection)
        names = [sql.Identifier(table.name) for table in tables]
        fewer = [sql.Identifier(table.name) for table in reversed(tables) if table.model not in ("element", "connection")]
        for name in names:
            connection.execute(sql.SQL("alter table {} disable trigger user").format(name))
        for name in [*fewer, *fewer]:  # elements and connections go with their topologies
            connection.execute(sql.SQL(_DELETE).format(table=name))
        for name in names:
            connection.execute(sql.SQL("alter table {} enable trigger user").format(name))
