"""The roles of db/roles and their privileges."""

from typing import Any

import psycopg

from ...server.commands import command_line
from ...sql.wording import counted
from ..roles import APP, OWNER, READER, ROLES
from .findings import BAD, NOTE, OK, SHOWN, Finding, rows


def examine_roles(connection: psycopg.Connection) -> Finding:
    """Examine whether the roles of db/roles have exactly the privileges that they need in a database."""
    found = {row["name"]: row for row in rows(connection, "roles", list(ROLES))}
    me = f"this is {connection.info.user}"
    if not found:
        return Finding("roles", NOTE, f"{me}; the roles of least privilege do not exist", advice=[command_line("roles")])
    wrong = [f"there is no {role}" for role in ROLES if role not in found]
    wrong += [f"{role} is a superuser" for role, row in found.items() if row["superuser"]]
    if owner := found.get(OWNER):
        not_owned = [
            "the database" * (not owner["owns_database"]),
            "the schema public" * (not owner["owns_schema"]),
            counted(owner["not_owned"], "table") if owner["not_owned"] else "",
            counted(owner["functions_not_owned"], "function") if owner["functions_not_owned"] else "",
        ]
        wrong += [f"{OWNER} does not own {what}" for what in not_owned if what]
    differences = rows(connection, "privileges", APP, READER)
    wrong += _told_privileges(differences)
    figures = {"roles": list(found.values()), "privileges": differences}
    if wrong:
        return Finding("roles", BAD, f"{me}; {', '.join(found)} need a look", wrong, [command_line("roles")], figures)
    summary = f"{me}; {', '.join(found)} have what they need"
    if large := [role for role in (APP, READER) if found[role]["may_create_large_objects"]]:
        advice = f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('roles')}  -- only a superuser can forbid it"
        return Finding("roles", NOTE, summary, [f"{' and '.join(large)} may create large objects"], [advice], figures)
    return Finding("roles", OK, summary, figures=figures)


def _told_privileges(differences: list[dict[str, Any]]) -> list[str]:
    """Return lines about privileges that roles lack or have in excess."""
    lacking: dict[tuple[str, str], set[str]] = {}
    excess: dict[tuple[str, str], list[str]] = {}
    for row in differences:
        if row["lacking"]:
            lacking.setdefault((row["role"], row["kind"]), set()).add(row["object"])
        else:
            excess.setdefault((row["role"], row["object"]), []).append(row["privilege"])
    lines = [
        f"{role} lacks privileges on {counted(len(objects), kind) if kind in ('table', 'sequence') else ', '.join(objects)}"
        for (role, kind), objects in lacking.items()
    ]
    for (role, what), privileges in excess.items():
        if (what, privileges) == ("the schema public", ["create"]):
            lines.append(f"{role} may create tables")
        else:
            lines.append(f"{role} has more than it needs on {what}: {', '.join(privileges)}")
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"and {counted(len(lines) - SHOWN, 'other difference')}; --json lists all"]
    return lines
