"""Faults of a server that the doctor knows, and how a test makes and mends them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString, NamedTuple

import psycopg

from tomato_dao.ops.examinations import Finding, examinations


def finding(connection: psycopg.Connection, topic: str) -> Finding:
    return examinations(connection, 1)[topic]()


def assert_sick(found: Finding, level: str, detail: str, step: str) -> None:
    assert (found.level, detail in "\n".join([found.summary, *found.details])) == (level, True), found
    assert step in "\n".join(found.advice), found.advice


class Fault(NamedTuple):
    """A fault: the way to make and to mend it, and the doctor's words."""

    topic: str
    level: str
    make: LiteralString
    mend: LiteralString
    detail: str
    step: str


# With half of the numbers of a page's rows gone, and no vacuum that could give the last pages back.
GAPS = """
create table hollow as select n as id, repeat('x', 100) as text from generate_series(1, 120000) n;
delete from hollow where id % 4 <> 0
"""
SEGMENT: LiteralString = "; create table x (); drop table x; select pg_switch_wal()"  # of WAL: 16 MB
FAULTS = {
    "constraint not valid": Fault(
        "constraints",
        "note",
        "alter table sites add constraint later check (length(name) < 9) not valid",
        "alter table sites drop constraint later",
        "later on sites was never checked for the rows of before",
        "alter table sites validate constraint later;",
    ),
    "constraint not enforced": Fault(
        "constraints",
        "note",
        "alter table sites add constraint never check (length(name) < 9) not enforced",
        "alter table sites drop constraint never",
        "never on sites is not enforced",
        "alter table sites alter constraint never enforced;",
    ),
    "disabled trigger": Fault(
        "constraints",
        "bad",
        "alter table users disable trigger users_flags_inserted",
        "alter table users enable trigger users_flags_inserted",
        "users: triggers that don't fire: users_flags_inserted",
        "alter table users enable trigger user;",
    ),
    "disabled foreign keys": Fault(
        "constraints",
        "bad",
        "alter table sites disable trigger all",
        "alter table sites enable trigger all",
        "of foreign keys",
        "alter table sites enable trigger all;",
    ),
    "sequence of a small column": Fault(
        "sequences",
        "bad",
        "create table small (id serial primary key); select setval('small_id_seq', 2000000000)",
        "drop table small",
        "small_id_seq, for small.id, is at 2,000,000,000 of 2,147,483,647",
        "a new migration that makes small.id a bigint",
    ),
    "sequence with a limit": Fault(
        "sequences",
        "note",
        "alter sequence hosts_id_seq maxvalue 1000; select setval('hosts_id_seq', 800)",
        "alter sequence hosts_id_seq no maxvalue restart",
        "hosts_id_seq, for hosts.id, is at 800 of 1,000",
        "alter sequence hosts_id_seq no maxvalue",
    ),
    "duplicate index": Fault(
        "indexes",
        "note",
        "create index twice on hosts (site_id)",
        "drop index twice",
        "twice on hosts",
        "drop index concurrently twice;  -- hosts_site_id_idx stands for it",
    ),
    "index that another begins with": Fault(
        "indexes",
        "note",
        "create table ab (a int, b int); create index ab_a on ab (a); create index ab_a_b on ab (a, b)",
        "drop table ab",
        "ab_a on ab (0.0 MB): ab_a_b begins with it",
        "drop index concurrently ab_a;  -- ab_a_b stands for it",
    ),
    "table without autovacuum": Fault(
        "tables",
        "note",
        "alter table sites set (autovacuum_enabled = off)",
        "alter table sites reset (autovacuum_enabled)",
        "sites: autovacuum is off for it",
        "alter table sites reset (autovacuum_enabled);",
    ),
    "stale statistics": Fault(
        "tables",
        "note",
        "create table fresh as select generate_series(1, 20000) as id; select pg_stat_force_next_flush()",
        "drop table fresh",
        "fresh: 20,000 rows were written since its statistics were made",
        "analyze fresh;",
    ),
    "gaps": Fault("tables", "note", GAPS, "drop table hollow", "are gaps", "vacuum full hollow;"),
    "prepared transaction": Fault(
        "transactions",
        "note",
        "begin; create table left_open (id int); prepare transaction 'it''s left'",
        "rollback prepared 'it''s left'",
        "is still open",
        "rollback prepared 'it''s left';",
    ),
    "slot that nobody reads": Fault(
        "replication",
        "note",
        "select pg_create_physical_replication_slot('idle', true)",
        "select pg_drop_replication_slot('idle')",
        "slot idle (physical, used by nobody) keeps",
        "select pg_drop_replication_slot('idle');",
    ),
    "slot that keeps much": Fault(
        "replication",
        "bad",
        "select pg_create_physical_replication_slot('full', true)"
        + 6 * "; create table x (); drop table x; select pg_switch_wal()",
        "select pg_drop_replication_slot('full')",
        "slot full (physical, used by nobody) keeps",
        "select pg_drop_replication_slot('full');",
    ),
    "archive without a command": Fault(
        "archiving",
        "note",
        "alter system set archive_command = ''; select pg_reload_conf()",
        "alter system set archive_command = '/bin/true'; select pg_reload_conf()",
        "on, but archive_command is empty",
        "set archive_command, or archive_mode = off",
    ),
    "another collation": Fault(
        "integrity",
        "bad",
        "update pg_database set datcollversion = '0' where datname = current_database()",
        "update pg_database set datcollversion = pg_database_collation_actual_version(oid) where datname = current_database()",
        "the collation of the database is of version 1 here, but was 0",
        "refresh collation version;",
    ),
    "another collation of a column": Fault(
        "integrity",
        "bad",
        'create table words (word text collate "pg_c_utf8"); '
        "update pg_collation set collversion = '0' where collname = 'pg_c_utf8'",
        "drop table words; update pg_collation set collversion = pg_collation_actual_version(oid) where collname = 'pg_c_utf8'",
        "pg_c_utf8",
        "reindex database concurrently;",
    ),
    "leases that nobody takes up": Fault(
        "leases",
        "note",
        """
        insert into organizations (name) values ('uni');
        insert into sites (name, organization_id) select 'lab', id from organizations;
        insert into hosts (name, address, rpcurl, site_id, update_lease_until)
        select 'host' || n, 'a', 'url' || n, s.id, now() - interval '2 hours' from sites s, generate_series(1, 10) n
        """,
        "delete from hosts; delete from sites; delete from organizations",
        "hosts: updates: 10, the oldest 2 h ago",
        "start workers that claim this work",
    ),
    "accounting that never ran": Fault(
        "accounting",
        "note",
        "insert into usage_arrivals (end_at, usage_id) values (now() - interval '2 hours', 1)",
        "delete from usage_arrivals",
        "the oldest new record has waited for 2 h",
        "check that a worker calls usage.aggregate once a minute",
    ),
    "accounting that settles nothing": Fault(
        "accounting",
        "note",
        """
        insert into usage_arrivals (end_at, usage_id) values (now(), 1);
        insert into usage_progress (settled_at, ran_at) values (now() - interval '3 hours', now())
        """,
        "delete from usage_arrivals; delete from usage_progress",
        "the newest settled window ended 3 h ago",
        "check that a worker calls usage.aggregate once a minute",
    ),
    **{
        f"{name} {value}": Fault(
            "server",
            "bad",
            f"alter system set {name} = {value}; select pg_reload_conf()",
            f"alter system reset {name}; select pg_reload_conf()",
            "PostgreSQL",
            f"alter system {step}; select pg_reload_conf();  -- {name} is {value}",
        )
        for name, value, step in (
            ("fsync", "off", "set fsync = on"),
            ("full_page_writes", "off", "set full_page_writes = on"),
            ("autovacuum", "off", "set autovacuum = on"),
            ("track_counts", "off", "set track_counts = on"),
            ("zero_damaged_pages", "on", "reset zero_damaged_pages"),
            ("ignore_checksum_failure", "on", "reset ignore_checksum_failure"),
        )
    },
}


@contextmanager
def made(connection: psycopg.Connection, fault: Fault) -> Iterator[None]:
    """Make a fault, and mend it afterwards."""

    def run(statements: str) -> None:
        for statement in statements.split("; "):
            connection.execute(statement.encode())

    try:
        run(fault.make)
        yield
    finally:
        run(fault.mend)


def until_level(connection: psycopg.Connection, topic: str, level: str) -> None:
    """Wait until a setting that was reloaded has reached this session, or statistics the server's memory."""
    for _ in range(200):
        if finding(connection, topic).level == level:
            return
        connection.execute("select pg_sleep(0.01)")
    raise AssertionError(f"{topic} never became {level}: {finding(connection, topic)}")
