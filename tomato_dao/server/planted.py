"""Objects in the schema that belong to roles other than its owner and the database's. They could shadow our objects."""

import psycopg

from ..errors import WrongSchema, from_driver
from ..printable import printable
from .session import SCHEMA

_SHOWN = 5
# All argument types match PostgreSQL's own functions and operators exactly, so that planted objects cannot shadow those in this
# query itself. Objects of superusers are trusted.
_PLANTED = """
select i.type, i.identity, r.rolname, o.rolname
from pg_catalog.pg_shdepend s
inner join pg_catalog.pg_database d on d.oid = s.dbid and d.datname = pg_catalog.current_database()
inner join pg_catalog.pg_roles r on r.oid = s.refobjid
inner join pg_catalog.pg_namespace n on n.nspname = %s::name
inner join pg_catalog.pg_roles o on o.oid = case n.nspowner
  when 'pg_database_owner'::regrole::oid then d.datdba else n.nspowner
end
cross join lateral pg_catalog.pg_identify_object(s.classid, s.objid, 0) i
where s.deptype = 'o'
  and not (
    pg_catalog.pg_has_role(s.refobjid, d.datdba, 'member'::text)
    or pg_catalog.pg_has_role(s.refobjid, n.nspowner, 'member'::text)
  )
  and i.schema = pg_catalog.quote_ident(n.nspname::text)
  and not exists (
    select from pg_catalog.pg_depend e where e.classid = s.classid and e.objid = s.objid and e.deptype = 'e'
  )
order by s.classid, s.objid
"""


def planted(connection: psycopg.Connection) -> list[str]:
    """Return the objects, with their owners, whose owner may act neither as the schema's owner nor as the database's."""
    return [f"{kind} {identity} of {role}" for kind, identity, role, _ in _found(connection)]


def advice(connection: psycopg.Connection) -> str:
    """Return the remedy for planted objects, or an empty string if there are none."""
    found = _found(connection)
    roles = ", ".join(sorted({f'"{role}"' for *_, role, _ in found}))
    return f'drop them, or, if they are intended: reassign owned by {roles} to "{found[0][3]}"' if found else ""


def refuse_planted(connection: psycopg.Connection) -> None:
    """Raise WrongSchema if there are such objects: a session of the owner could run them."""
    if found := planted(connection):
        shown = [printable(name, 100) for name in found[:_SHOWN]] + [f"and {len(found) - _SHOWN} more"] * (len(found) > _SHOWN)
        raise WrongSchema(
            f"the schema {SCHEMA} of the database {connection.info.dbname} holds objects that its owner does not own "
            f"({', '.join(shown)}): {advice(connection)}"
        )


def _found(connection: psycopg.Connection) -> list[tuple[str, str, str, str]]:
    try:
        return connection.execute(_PLANTED, [SCHEMA]).fetchall()
    except psycopg.Error as error:
        raise from_driver(error) from error
