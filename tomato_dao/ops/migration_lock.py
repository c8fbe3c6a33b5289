"""The migration lock: one process at a time changes a database's schema."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

import psycopg
from psycopg import sql

from ..errors import NotAllowed, Unavailable, from_driver
from ..printable import printable
from ..server.backoff import pauses
from ..server.planted import refuse_planted
from ..server.probe import database_name, probe
from ..server.session import SCHEMA_PATH
from ..sql.timing import at_most
from ..transfer import limits

logger = logging.getLogger(__name__)

_PATIENCE = 30  # seconds to wait for the server's answer; another process's migration may take longer
# Any role can acquire advisory locks. This lock requires privileges on the table, which only its owner has.
_LOCK = "lock table public.migration_lock in share update exclusive mode"
_MAKE_LOCK = """
do $$
declare
  grantee text;
begin
  create table public.migration_lock ();
  comment on table public.migration_lock is 'Locked, in share update exclusive mode, by the process that migrates.';
  for grantee in
    select case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end
    from pg_class c
    cross join aclexplode(c.relacl) x
    where c.oid = 'public.migration_lock'::regclass and x.grantee <> c.relowner
  loop
    execute format('revoke all on public.migration_lock from %s', grantee); -- what new tables are given by default
  end loop;
end;
$$
"""
# The owner of the schema (if necessary, the one that it will get), and whether this user may act as that role.
_OWNER = """
select r.rolname, pg_has_role(r.oid, 'member'), r.rolname = current_user
from pg_roles r
where r.oid = coalesce(
  (select c.relowner from pg_class c where c.oid = to_regclass('schema_migrations')),
  (select nullif(n.nspowner, 'pg_database_owner'::regrole) from pg_namespace n where n.nspname = 'public'),
  (select d.datdba from pg_database d where d.datname = current_database())
)
"""


class LockSessionLostError(Unavailable):
    """The session with the migration lock was lost, while dbmate may have continued."""


@contextmanager
def migrating(url: str, timeout: float) -> Iterator[tuple[psycopg.Connection, str | None]]:
    """Acquire the migration lock. Yield its connection, and the schema's owner if that is another role.

    The lock belongs to the transaction, since a pooler in transaction mode would lose a session's lock.
    """
    connection, has_lock = None, False
    try:
        for patience in tries(url, timeout):
            with probe(url, patience) as connection:
                with at_most(_PATIENCE):
                    owner = _owner(connection)
                    make_migration_lock(connection, owner)
                with connection.transaction():
                    with at_most(_PATIENCE):
                        has_lock = _lock(connection, owner)
                    if has_lock:
                        yield connection, owner
                        return
    except psycopg.Error as error:
        told = from_driver(error)
        if has_lock and connection is not None and connection.broken:
            raise LockSessionLostError(f"the session that keeps others from migrating was lost: {told}") from error
        raise told from error


def tries(url: str, timeout: float) -> Iterator[float]:
    """Yield the seconds to wait for a full server, once for each attempt while another process migrates.

    No connection is held between attempts, which are soon a second apart: on a small server the migrating process needs the
    connections and the CPU.
    """
    yield timeout
    logger.info("waiting for another process that migrates %s", printable(database_name(url)))
    for pause in pauses(0.1, 1):
        sleep(pause)
        yield max(timeout, _PATIENCE)


def _lock(connection: psycopg.Connection, owner: str | None) -> bool:
    """Prepare a transaction for migrating. Return False if another process has the lock."""
    limits.lift(connection)
    connection.execute(f"set local search_path = {SCHEMA_PATH}".encode())  # a pooler may switch sessions between transactions
    if owner:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
    if not is_locked(connection):
        return False
    with connection.transaction(force_rollback=True):  # see _applied
        refuse_planted(connection)
    return True


def _owner(connection: psycopg.Connection) -> str | None:
    """Return the role that owns the schema, or None if it is this user. Raises NotAllowed if the user may not act as it."""
    ((owner, may, is_owner),) = connection.execute(_OWNER).fetchall()
    if not may:
        raise NotAllowed(
            f"the user {connection.info.user} may not migrate the database {connection.info.dbname}: "
            f"name its owner, {owner}, in OWNER_DATABASE_URL"
        )
    return None if is_owner else str(owner)


def make_migration_lock(connection: psycopg.Connection, owner: str | None = None) -> None:
    """Create the table that migrating processes lock, unless it exists. owner: its owner, if that is another role."""
    if _has_migration_lock(connection):
        return
    try:
        with connection.transaction():
            if owner:
                connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
            connection.execute(_MAKE_LOCK)
    except (psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        if not _has_migration_lock(connection):  # otherwise another process has created it at the same time
            raise


def _has_migration_lock(connection: psycopg.Connection) -> bool:
    return connection.execute("select to_regclass('public.migration_lock') is not null").fetchone() == (True,)


def lock_migrations(connection: psycopg.Connection) -> None:
    """Wait for the migration lock and hold it until the transaction ends."""
    connection.execute(_LOCK)


def is_locked(connection: psycopg.Connection) -> bool:
    """Try to lock the table until the transaction ends. Return False if another process holds the lock."""
    try:
        with connection.transaction():
            connection.execute(f"{_LOCK} nowait")
    except psycopg.errors.LockNotAvailable:
        return False
    return True
