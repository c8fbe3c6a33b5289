"""The roles of db/roles in a server while tests run there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from tomato_dao.ops.privileges import script
from tomato_dao.ops.roles import ROLES
from tomato_dao.ops.scratch import with_database

MARK = "made by the tests of tomato-dao, which remove it"
_TESTING, _MAKING = 0x7465737473, 0x6D616B6573  # advisory locks in the database postgres
_MARKED = "select rolname from pg_roles where shobj_description(oid, 'pg_authid') = %s order by rolname desc"


@contextmanager
def roles_while_testing(url: str) -> Iterator[None]:
    """Make the roles that a server lacks, if the tests' user may; the last process of those that test there removes them.

    They bear a mark, by which the next run also removes what one that was killed has left.
    """
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as server:
        server.execute("select pg_advisory_lock_shared(%s)", [_TESTING])
        with suppress(psycopg.errors.InsufficientPrivilege), server.transaction():
            server.execute("select pg_advisory_xact_lock(%s)", [_MAKING])
            missing = server.execute("select r from unnest(%s::text[]) r where to_regrole(r) is null", [list(ROLES)]).fetchall()
            server.execute(script("roles"))
            for (role,) in missing:
                server.execute(sql.SQL("comment on role {} is {}").format(sql.Identifier(role), sql.Literal(MARK)))
        yield
        server.execute("select pg_advisory_unlock_shared(%s)", [_TESTING])
        if server.execute("select pg_try_advisory_lock(%s)", [_TESTING]).fetchone() == (True,):
            for (role,) in server.execute(_MARKED, [MARK]).fetchall():
                server.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
