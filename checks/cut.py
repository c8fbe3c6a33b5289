"""`make release-files`: write the files that later releases are checked against, for the current version.

These are its contract (db/releases), its API (checks/api), the hashes of its migrations (db/migrations/released.sha256), and a
dump with every table and unusual values (tests/data), which later releases must load.
"""

import argparse
from pathlib import Path

import psycopg

import tomato_dao
from tomato_dao import connect, dump
from tomato_dao.errors import TomatoError, WrongState
from tomato_dao.ops import embedded
from tomato_dao.ops.cli import run_command
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema
from tomato_dao.transfer import catalog

from . import api, migration_lint, release
from .plans import PLANS, fill
from .rollout import made
from .row_classes import short

KEPT = schema.DB_DIR.parent / "tests" / "data"
_FEW = 100  # topologies

# Remove the testbed's rows that violate rules, and add rows to its empty tables, and values that are difficult to transfer.
_ODD = r"""
delete from connections c where c.id in (select b.id from connections_two_ends b);
update elements set connection_id = null where connection_id not in (select c.id from connections c);
update host_elements set connection_id = null where connection_id not in (select c.id from connections c);
update host_connections set connection_id = null where connection_id not in (select c.id from connections c);
insert into key_values (key, value) values
  ('', 'null'), ('odd', '{"": [1e400, -0, 0.10, "\u2028\\", {"a": {}}], "ü": "𝄞"}'), (e'\x01\t\n\\N', '"\\u0001"');
insert into tasks (name, started_at, run_lease_until) values
  ('first', '0001-01-01 00:00:00+00', null), ('last', '9999-12-31 23:59:59.999999+00', '2024-02-29 12:00:00.000001+00');
insert into usage_arrivals (end_at, usage_id) select '2020-01-01 00:05:00+00', min(u.id) from usage_statistics u;
insert into usage_due (type, end_at, usage_id) select 'hour', '2020-01-01 01:00:00+00', min(u.id) from usage_statistics u;
insert into usage_run (
  moment, step, after_end, after_id, settled, grown, built, reopened, written, pruned, late
) values ('2020-01-01 00:20:00+00', 6, '0001-01-01 00:00:00+00', 0, '2020-01-01 00:05:00+00', '{1}', '{}', '{}', 1, 0, 0);
insert into usage_progress (settled_at) values ('2020-01-01 00:00:00+00') on conflict do nothing;
update organizations set description_text = e'\\N \\. \t\r\n\b\f\x01\x1f\x7f ' || u&'\2028\2029\feff' || '𝄞 "quoted" {} \u0041'
where id = (select min(o.id) from organizations o);
update sites set latitude = 5e-324, longitude = 0.1::float8 + 0.2 where id = (select min(s.id) from sites s);
update sites set latitude = '-0', longitude = null where id = (select max(s.id) from sites s);
update quotas set used_memory = 'infinity', used_traffic = 1.7976931348623157e308
where user_id = (select min(q.user_id) from quotas q);
update users set password_hash = null, last_login_at = null, flags = '{}' where id = (select min(u.id) from users u);
update hosts set info = '{"a": 9007199254740993, "b": 1e-7, "c": [null, true]}', info_at = null
where id = (select min(h.id) from hosts h);
"""


def freeze(directory: Path) -> list[str]:
    """Append the hashes of new migrations to a directory's list of released ones. Return their names."""
    file = directory / migration_lint.RELEASED
    listed = {line.split()[-1] for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")}
    new = [path for path in schema.files(directory) if path.name not in listed]
    with file.open("a", encoding="utf-8") as list_:
        list_.writelines(f"{schema.file_hash(path)}  {path.name}\n" for path in new)
    return [path.name for path in new]


def keep_dump(version: str, directory: Path = KEPT) -> Path:
    """Write the dump that later releases load, and return its file. Raises WrongState if a table is empty."""
    directory.mkdir(exist_ok=True)
    file = directory / f"dump-{version}.json.zst"
    with embedded.started_for_tests() as server_url, scratch_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, _FEW, (PLANS / "data.sql").read_text("utf-8"))
            connection.execute("set session_replication_role = replica")
            connection.execute(_ODD.encode())
            for table in catalog.tables(connection):
                if connection.execute(f'select from "{table.name}" limit 1'.encode()).rowcount == 0:
                    raise WrongState(f"the kept dump would have no {table.name}: add some in {short(Path(__file__))}")
        with connect(url) as db:
            dump(db, file)
    return file


def main() -> None:
    """Run `python -m checks.cut`."""
    argparse.ArgumentParser(prog="release-files", description=__doc__).parse_args()
    version = tomato_dao.__version__
    if version in release.versions() or version in api.versions():
        raise TomatoError(f"{version} has its files already: set the next version in tomato_dao/__init__.py")
    written = [keep_dump(version), api.write(), release.write(made(version))]
    frozen = freeze(schema.DB_DIR / "migrations")
    for path in written:
        print(f"{short(path)} ({path.stat().st_size / 1000:,.0f} kB)")
    print(f"frozen: {', '.join(frozen) or 'no migration is new'}")


if __name__ == "__main__":
    run_command(main, "release-files")
