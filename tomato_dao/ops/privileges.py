"""Privileges of the roles in a database, granted by `make roles` and again after each migration and restore."""

import psycopg

from ..server import schema

_IS_OWNERS = """
select exists (
  select
  from pg_database d, pg_namespace n
  where d.datname = current_database() and n.nspname = 'public'
    and d.datdba = to_regrole('tomato_owner') and n.nspowner = to_regrole('tomato_owner')
)
"""


def script(name: str) -> bytes:
    """Return a script of db/roles: roles, ownership or privileges."""
    return (schema.DB_DIR / "roles" / f"{name}.sql").read_bytes()


def restore_privileges(connection: psycopg.Connection) -> None:
    """Grant the roles their privileges in a database of tomato_owner. Other databases are left unchanged."""
    if connection.execute(_IS_OWNERS).fetchone() == (True,):
        connection.execute(script("privileges"))


def give_to_owner(connection: psycopg.Connection) -> None:
    """Make tomato_owner the owner of all objects in its database, and grant the roles their privileges."""
    is_owners = "select exists (select from pg_database where datname = current_database() and datdba = to_regrole(%s))"
    if connection.execute(is_owners, ["tomato_owner"]).fetchone() == (True,):
        with connection.transaction():
            connection.execute(script("ownership"))
            connection.execute(script("privileges"))
