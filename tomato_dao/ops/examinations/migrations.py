"""The schema version, and objects in the schema that belong to other roles."""

import psycopg

from ...server import rolling, schema
from ...server.commands import command_line
from ...server.planted import advice as advice_on_planted
from ...server.planted import planted
from ...server.session import SCHEMA
from ...sql.wording import counted
from .findings import BAD, NOTE, OK, Finding


def migrations(connection: psycopg.Connection) -> Finding:
    """Examine the database's migrations, and the owners of objects in the schema."""
    if strange := planted(connection):  # before any object of the schema is read
        summary = f"{counted(len(strange), 'object')} in {SCHEMA} that are not owned by the database's owner"
        return Finding("schema", BAD, summary, strange, [advice_on_planted(connection)], {"planted": strange})
    have = schema.applied(connection)
    differs = schema.compare(have)
    unknown, total = differs.unknown, len(schema.known())
    pending = [path.stem for path in schema.files() if schema.version_of(path) in differs.pending]
    figures = {"current": have[-1] if have else None, "pending": pending, "unknown": unknown}
    current = f"at {have[-1]}" if have else "never migrated"
    if differs.unreleased:
        return Finding("schema", BAD, f"{current}, a schema that was never released", unknown, [schema.recreate()], figures)
    if unknown and (oldest := rolling.oldest_supported(connection)) and oldest <= schema.known()[-1] and not pending:
        summary = (
            f"{current}, newer than this code, which it supports: workers go on, dump, load and migrate need the newer code"
        )
        return Finding("schema", NOTE, summary, unknown, ["upgrade tomato-dao soon"], {**figures, "oldest_supported": oldest})
    if unknown:
        advice = ["this code is older than the database: install a tomato-dao that has these migrations"]
        return Finding("schema", BAD, f"{current}, with migrations unknown to this code", unknown, advice, figures)
    if edited := schema.edited(connection):
        summary = f"{current}, {counted(len(edited), 'migration')} edited after being applied"
        return Finding("schema", BAD, summary, edited, [schema.undo_edit()], {**figures, "edited": edited})
    if pending and have and rolling.waits_for_contract(pending):
        advice = [f"{command_line('migrate')}, once the backfill is done and no older worker is connected"]
        return Finding("schema", NOTE, f"{current}, contract migrations pending", pending, advice, figures)
    if pending:
        advice = [f"{command_line('migrate')}, which makes a backup first"]
        return Finding("schema", BAD, f"{current}, {len(pending)} of {total} migrations pending", pending, advice, figures)
    return Finding("schema", OK, f"{current}, all {total} migrations applied", figures=figures)
