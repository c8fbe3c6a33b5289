"""The distributed shape of the schema: usage records on several servers with Citus, and the resulting differences.

docs/guides/scale.md explains it to operators. Three tables are distributed by usage_id and colocated; all others stay on the
coordinator.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql

from ..errors import Unavailable, WrongSchema, WrongState
from ..printable import one_line, printable
from ..server import schema
from .privileges import restore_privileges

TABLES = ("usage_records", "usage_due", "usage_arrivals")
KEY = "usage_id"
OLDEST_CITUS = 13
TRIGGER = "usage_statistics_note_removed"
FOREIGN_KEY = "usage_records_usage_id_fkey"

_HAS_CITUS = "select to_regclass('pg_catalog.pg_dist_partition') is not null"
_DISTRIBUTED = """
select c.relname
from pg_catalog.pg_dist_partition d
inner join pg_class c on c.oid = d.logicalrelid
where c.relname = any(%s) and c.relnamespace = 'public'::regnamespace and d.partmethod = 'h'
"""
_OTHERWISE = """
select c.relname
from pg_catalog.pg_dist_partition d
inner join pg_class c on c.oid = d.logicalrelid
where c.relnamespace = 'public'::regnamespace and (
  c.relname <> all(%s) or d.partmethod <> 'h' or column_to_column_name(d.logicalrelid, d.partkey) <> %s
)
"""
_WORKERS = """
select n.nodename, n.nodeport, n.isactive
from pg_catalog.pg_dist_node n
where n.noderole = 'primary' and n.groupid <> 0 and n.shouldhaveshards
order by n.nodeid
"""
_OWNER = """
select r.rolname, r.rolname <> current_user
from pg_class c
inner join pg_roles r on r.oid = c.relowner
where c.oid = 'usage_records'::regclass
"""
_CALLED_ON_WORKERS = ("usage_beyond", "usage_period_begin", "usage_period_end")
_GIVE_FUNCTIONS = """
select pg_catalog.create_distributed_function(p.oid::regprocedure)
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.proname = any(%s)
"""
_ORPHANS = "delete from usage_records r where not exists (select from usage_statistics u where u.id = r.usage_id)"


def has_citus(connection: psycopg.Connection) -> bool:
    """Return whether the database has the extension."""
    return connection.execute(_HAS_CITUS).fetchone() == (True,)


def distributed(connection: psycopg.Connection) -> list[str]:
    """Return those of TABLES that are distributed, in order; none without Citus."""
    if not has_citus(connection):
        return []
    found = {name for (name,) in connection.execute(_DISTRIBUTED, [list(TABLES)])}
    return [name for name in TABLES if name in found]


def check_citus(connection: psycopg.Connection) -> list[str]:
    """Check Citus and return its workers as host:port.

    Raises WrongSchema without a suitable version of Citus, Unavailable if a worker does not answer, and WrongState without
    workers or if other tables are distributed.
    """
    database = printable(connection.info.dbname)
    if not has_citus(connection):
        raise WrongSchema(
            f"the database {database} has no Citus: install Citus's package on all servers, add citus to "
            "shared_preload_libraries, restart, and run “create extension citus” in this database and in one of the same name "
            "on each worker (docs/guides/scale.md)"
        )
    (version,) = connection.execute("select extversion from pg_extension where extname = 'citus'").fetchone() or ("0",)
    if int(version.partition(".")[0]) < OLDEST_CITUS:
        raise WrongSchema(f"the database {database} has Citus {printable(version)}; {OLDEST_CITUS} or later is needed")
    found = connection.execute(_WORKERS).fetchall()
    if not found:
        raise WrongState(
            f"the database {database} has no worker that takes rows: select citus_set_coordinator_host(…), then "
            "citus_add_node('host', port) for each"
        )
    for host, port, is_active in found:
        if not is_active:
            raise Unavailable(f"the worker {printable(host)}:{port} is not active: citus_activate_node(…), or remove it")
    answers = connection.execute("select nodename, nodeport, success, result from run_command_on_workers('select 1')")
    for host, port, answered, said in answers.fetchall():
        if not answered:
            raise Unavailable(f"the worker {printable(host)}:{port} does not answer: {one_line(said)}")
    if others := [name for (name,) in connection.execute(_OTHERWISE, [list(TABLES), KEY])]:
        raise WrongState(
            f"Citus distributes other tables, or these by another column: {printable(', '.join(others))}; "
            "undistribute_table(…) brings them back"
        )
    return [f"{host}:{port}" for host, port, _ in found]


def has_trigger(connection: psycopg.Connection) -> bool:
    """Return whether the trigger replaces the foreign key."""
    query = "select exists (select from pg_trigger where tgname = %s and tgrelid = 'usage_statistics'::regclass)"
    return connection.execute(query, [TRIGGER]).fetchone() == (True,)


def stop_writers(connection: psycopg.Connection, mode: LiteralString = "share") -> None:
    """Block writers of usage records until the transaction ends, without taking a snapshot."""
    tables = ", ".join(f"public.{table}" for table in TABLES)
    connection.execute(f"lock table {tables} in {mode} mode".encode())


def dump_options(connection: psycopg.Connection) -> list[str]:
    """Return pg_dump's options that omit Citus, so that a backup can be restored without it."""
    if not has_citus(connection):
        return []
    names = connection.execute("select extname from pg_extension where extname not like 'citus%' order by 1").fetchall()
    return [f"--extension={name}" for (name,) in names]


def bring_to_coordinator(connection: psycopg.Connection) -> bool:
    """Convert a restored database with distributed usage records to a single server. Return whether it had them.

    Runs in the caller's transaction. Raises WrongSchema if the schema is not this code's.
    """
    connection.execute("set local search_path = public, pg_temp")
    if has_citus(connection) or connection.execute("select to_regclass('usage_removed') is null").fetchone() == (True,):
        return False
    schema.check(connection)
    restore_functions(connection)
    restore_foreign_key(connection)
    validate_foreign_key(connection)
    return True


def validate_foreign_key(connection: psycopg.Connection) -> None:
    """Validate the foreign key in the caller's transaction, after deleting the records of removed objects."""
    connection.execute(_ORPHANS)
    connection.execute(f"alter table usage_records validate constraint {FOREIGN_KEY}".encode())


def install(connection: psycopg.Connection) -> None:
    """Install the distributed versions of the functions, in the caller's transaction.

    The workers get the functions that queries call there: Citus propagates only those created after its extension.
    """
    with _on_the_coordinator(connection):
        connection.execute(_second_versions().encode())
    if has_citus(connection):
        connection.execute(_GIVE_FUNCTIONS, [list(_CALLED_ON_WORKERS)])


def let_owner_migrate(connection: psycopg.Connection) -> None:
    """Let the owner of the tables make things in the schema on the workers, too: Citus takes this there, and migrations."""
    owner, _ = connection.execute(_OWNER).fetchone() or ("", False)
    connection.execute(sql.SQL("grant create on schema public to {}").format(sql.Identifier(owner)))


def restore_functions(connection: psycopg.Connection) -> None:
    """Restore the schema's versions of the functions, in the caller's transaction."""
    names = _names()
    with _on_the_coordinator(connection):
        for name in reversed(names):
            connection.execute(sql.SQL("drop function if exists {}").format(sql.Identifier(name)))
        for name, text in _first_versions():
            if name in names:
                connection.execute(text.encode())


def replace_foreign_key(connection: psycopg.Connection) -> None:
    """Install the trigger that deletes the records of removed objects, since Citus has no such foreign key."""
    with _on_the_coordinator(connection):
        connection.execute(f"alter table usage_records drop constraint if exists {FOREIGN_KEY}".encode())
        connection.execute(_script("foreign_key").encode())
    restore_privileges(connection)


def restore_foreign_key(connection: psycopg.Connection) -> None:
    """Replace the trigger by the foreign key, without validating existing rows."""
    with _on_the_coordinator(connection):
        connection.execute(f"drop trigger if exists {TRIGGER} on usage_statistics".encode())
        connection.execute("drop function if exists note_removed_usage()")
        connection.execute("drop table if exists usage_removed")
        if not has_foreign_key(connection):
            found = re.search(rf"ADD CONSTRAINT {FOREIGN_KEY} (FOREIGN KEY [^;]*);", _schema())
            definition = found[1] if found else ""
            connection.execute(f"alter table usage_records add constraint {FOREIGN_KEY} {definition} not valid".encode())


def has_foreign_key(connection: psycopg.Connection, *, validated: bool = False) -> bool:
    """Return whether the foreign key exists and, on request, whether it is validated."""
    query = """
    select exists (
      select from pg_constraint k
      where k.conrelid = 'usage_records'::regclass and k.conname = %s and (k.convalidated or not %s)
    )
    """
    return connection.execute(query, [FOREIGN_KEY, validated]).fetchone() == (True,)


@contextmanager
def _on_the_coordinator(connection: psycopg.Connection) -> Iterator[None]:
    """Apply the block's schema changes to the coordinator only, as the owner of the tables."""
    owner, is_other = connection.execute(_OWNER).fetchone() or ("", False)
    connection.execute("set local citus.enable_ddl_propagation = off")
    connection.execute("set local client_min_messages = warning")
    if is_other:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
    yield
    if is_other:
        connection.execute("set local role none")
    connection.execute("set local citus.enable_ddl_propagation = on")


def _script(name: str) -> str:
    return (schema.DB_DIR / "distributed" / f"{name}.sql").read_text("utf-8")


def _second_versions() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((schema.DB_DIR / "distributed").glob("[0-9]_*.sql")))


def _schema() -> str:
    return (schema.DB_DIR / "schema.sql").read_text("utf-8")


def _names() -> list[str]:
    """Return the functions that the distributed versions create or remove."""
    found = re.findall(r"^(?:create (?:or replace )?function|drop function if exists) (\w+)", _second_versions(), re.MULTILINE)
    return list(dict.fromkeys(found))


def _first_versions() -> list[tuple[str, str]]:
    """Return the names and definitions of the schema's functions, in an order in which they can be created."""
    pattern = r"^CREATE FUNCTION public\.(\w+)\(.*?(?=^--\n-- Name: )"
    return [(found[1], found[0]) for found in re.finditer(pattern, _schema(), re.MULTILINE | re.DOTALL)]
