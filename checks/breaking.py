"""Refusals of older code beyond its queries' types: rules, keys and triggers that the older schema did not have.

The catalogs of both schemas are compared, and rows of the testbed are written again as older code would. If neither proves that
older code is safe, it counts as broken: for example, by a check that is not implied by the older one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from .schema_state import Constraint, State, Table, words_of
from .writes import Writes

_WIDER = [
    {"smallint": 0, "integer": 1, "bigint": 2, "numeric": 3},
    {"real": 0, "double precision": 1},
]
_SIZED = re.compile(r"(character varying|character|numeric|bit varying|timestamp|time)\((\d+)(?:,(\d+))?\)")
_RAISES = re.compile(r"\braise\s+(?!(?:notice|warning|info|log|debug)\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Break:
    """A refusal of older code. topic: the table or query concerned."""

    topic: str
    message: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.message}"


def breaks(base: State, after: State, written: Writes, connection: psycopg.Connection) -> Iterator[Break]:
    """Yield the refusals of code of the schema `base` by a connection's schema, described by `after`."""
    for name, was in base.tables.items():
        if (now := after.tables.get(name)) is None or now == was:
            continue
        yield from _columns(name, was, now, written)
        yield from _constraints(name, was, now, connection)
        yield from _triggers(name, was, now)
        if not lets_pass(was, now):
            yield Break(name, "a new trigger may leave out what older code writes: its function returns null")
        if now.has_policies and not was.has_policies:
            yield Break(name, "row-level security hides rows from older code")
    yield from _references(base, after, written)
    yield from _bodies(base, after)


def _columns(table: str, was: Table, now: Table, written: Writes) -> Iterator[Break]:
    fills = any(" BEFORE INSERT " in text or " BEFORE INSERT OR" in text for text, _ in now.triggers.values())
    for name, column in now.columns.items():
        before = was.columns.get(name)
        has_value = bool(column.default) or column.generated or fills
        if before is None:
            if column.not_null and not has_value:
                yield Break(table, f"{name} is not null and has no default: older code inserts rows without it")
            continue
        if column.not_null and not before.not_null:
            yield Break(table, f"{name} is not null now: older code may leave it null")
        omits = any(name not in columns for columns in written.inserts.get(table, []))
        if column.not_null and not has_value and (before.default or before.generated) and omits:
            yield Break(table, f"{name} has no default any more, and older code inserts rows without it")
        if column.type != before.type and not _holds(column.type, before.type):
            yield Break(table, f"{name} is {column.type} now, which does not hold every {before.type}")


def _holds(now: str, was: str) -> bool:
    """Return whether a type is known to hold all values of another one."""
    for order in _WIDER:
        if now in order and was in order and order[now] >= order[was]:
            return True
    new, old = _SIZED.fullmatch(now), _SIZED.fullmatch(was)
    if new and old:
        return (
            new[1] == old[1]
            and int(new[2]) - int(new[3] or 0) >= int(old[2]) - int(old[3] or 0)
            and int(new[3] or 0) >= int(old[3] or 0)
        )
    if old and old[1] in ("character varying", "numeric", "bit varying") and now == old[1]:
        return True
    return now == "text" and (was == "character varying" or bool(old and old[1] == "character varying"))


def _constraints(table: str, was: Table, now: Table, connection: psycopg.Connection) -> Iterator[Break]:
    old_texts = {_plain(found.text) for found in was.constraints.values()}
    for name, found in now.constraints.items():
        if _plain(found.text) in old_texts or not _used(found) & was.columns.keys():
            continue
        if found.kind == "c" and not _implied(was, found, connection):
            yield Break(table, f"the check {name} may refuse what older code writes: {found.text}")
        elif found.kind in "ux" and not _keeps_unique(was, found):
            yield Break(table, f"the key {name} may refuse what older code writes")
        elif found.kind == "f" and not _same_reference(was, found):
            yield Break(table, f"the foreign key {name} may refuse what older code writes")
    for name, found in was.constraints.items():
        if found.kind == "u" and not any(other.kind == "u" and _covers(other, found) for other in now.constraints.values()):
            yield Break(table, f"the key {name} is gone: older code counts on it to refuse duplicates")
    for name, found in now.constraints.items():  # of columns that older code does not know, and leaves to their defaults
        new = found.columns and not _used(found) & was.columns.keys()
        if (
            found.kind in "ux"
            and new
            and all(now.columns[c].default not in ("", "NULL") and not _varies(now.columns[c].default) for c in found.columns)
        ):
            yield Break(table, f"the key {name} refuses a second row of older code, which leaves its columns to their defaults")


def _used(found: Constraint) -> set[str]:
    """Return the columns of a constraint. For an index on expressions, these are all words in them."""
    return {*found.columns, *(words_of([found.text]) if found.text.startswith("CREATE ") else ())}


def _varies(default: str) -> bool:
    return "(" in default and not default.startswith("(")


def _plain(text: str) -> str:
    """Return a constraint's or index's text without its name, and whether it was validated."""
    return re.sub(r"^CREATE UNIQUE INDEX \S+ ", "", text.removesuffix(" NOT VALID"))


def _covers(key: Constraint, other: Constraint) -> bool:
    """Return whether a key implies another one: it has the same columns, or some of them, and covers all rows."""
    if _plain(key.text) == _plain(other.text):
        return True
    partial = " WHERE " in key.text or "(" in re.sub(r"^.*?\(", "", key.text, count=1).rpartition(")")[0]
    return bool(key.columns) and set(key.columns) <= set(other.columns) and not partial


def _keeps_unique(was: Table, found: Constraint) -> bool:
    return found.kind == "u" and any(old.kind == "u" and _covers(old, found) for old in was.constraints.values())


def _same_reference(was: Table, found: Constraint) -> bool:
    return any(
        old.kind == "f" and (old.columns, old.target) == (found.columns, found.target) for old in was.constraints.values()
    )


def _implied(was: Table, found: Constraint, connection: psycopg.Connection) -> bool:
    """Return whether the older checks of a table imply a new one, by PostgreSQL's proof for partial indexes."""
    old = [_condition(check.text) for check in was.constraints.values() if check.kind == "c"]
    new = _condition(found.text)
    nullable = any(not was.columns[column].not_null for column in found.columns if column in was.columns)
    if not old or (nullable and re.search(r"\bnull\b|coalesce", new, re.IGNORECASE)):
        return False
    known = set(was.columns)
    if not set(found.columns) <= known:
        return False
    columns = ", ".join(f'"{name}" {column.type.partition(" CHECK ")[0]}' for name, column in was.columns.items())
    try:
        with connection.transaction(force_rollback=True):
            for statement in (
                f"create temp table implied ({columns})",
                f"create index implied_by_older on implied (({new})) where {new}",
                "set local enable_seqscan = off",
            ):
                connection.execute(statement.encode())
            plan = connection.execute(f"explain select from implied where {' and '.join(f'({text})' for text in old)}".encode())
            return "implied_by_older" in str(plan.fetchall())
    except psycopg.Error:
        return False


def _condition(text: str) -> str:
    return text.removesuffix(" NOT VALID").removeprefix("CHECK ")


def _triggers(table: str, was: Table, now: Table) -> Iterator[Break]:
    for name, (text, source) in now.triggers.items():
        before = was.triggers.get(name)
        if (
            _RAISES.search(source)
            and (before is None or before != (text, source))
            and not (before and _RAISES.search(before[1]))
        ):
            yield Break(table, f"the trigger {name} may refuse what older code writes: its function raises errors")


def _references(base: State, after: State, written: Writes) -> Iterator[Break]:
    """Yield foreign keys that prevent older code from deleting rows."""
    deleted = set(written.deletes)
    while more := {
        name
        for name, table in base.tables.items()
        if name not in deleted
        and any(k.kind == "f" and k.on_delete == "c" and k.target in deleted for k in table.constraints.values())
    }:
        deleted |= more
    for name, table in after.tables.items():
        was = base.tables.get(name, Table())
        held = {(old.columns, old.target) for old in was.constraints.values() if old.kind == "f" and old.on_delete in "ar"}
        for key, found in table.constraints.items():
            if (
                found.kind == "f"
                and found.target in deleted
                and found.on_delete in "ar"
                and (found.columns, found.target) not in held
            ):
                yield Break(name, f"the foreign key {key} keeps older code from deleting rows of {found.target}")


def _bodies(base: State, after: State) -> Iterator[Break]:
    """Yield trigger functions that refer to a dropped column of their table."""
    for name, table in after.tables.items():
        if (was := base.tables.get(name)) is None:
            continue
        gone = was.columns.keys() - table.columns.keys()
        for trigger, (_, source) in table.triggers.items():
            for column in sorted(gone):
                if re.search(rf"\b(new|old)\.{column}\b", source, re.IGNORECASE):
                    yield Break(name, f"the function of the trigger {trigger} uses {column}, which is gone")


def lets_pass(was: Table, now: Table) -> bool:
    """Return whether new triggers of a table let every row pass, by the text of their functions."""
    before = [(name, found) for name, found in now.triggers.items() if " BEFORE " in found[0] and "FOR EACH ROW" in found[0]]
    new = [found[1] for name, found in before if was.triggers.get(name) != found]
    return not any(re.search(r"\breturn\s+null\b", source, re.IGNORECASE) for source in new)


Outcomes = dict[tuple[str, str], str]


def outcomes(connection: psycopg.Connection, base: State, tables: set[str]) -> Outcomes:
    """Write a row of each table again as older code would, undo it, and return the server's answers."""
    found: Outcomes = {}
    for name in sorted(tables & base.tables.keys()):
        here = {
            column
            for (column,) in connection.execute(
                "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
                " and attgenerated = ''",
                [f"public.{name}"],
            )
        }
        columns = [sql.Identifier(column) for column in base.tables[name].columns if column in here]
        if not columns:
            continue
        table, listed = sql.Identifier(name), sql.SQL(", ").join(columns)
        sets = sql.SQL(", ").join(sql.SQL("{0} = t.{0}").format(column) for column in columns)
        one = sql.SQL("t.ctid = (select ctid from {} limit 1)").format(table)
        tries = {
            "inserted": sql.SQL("insert into {} ({}) overriding system value select {} from {} limit 1").format(
                table, listed, listed, table
            ),
            "updated": sql.SQL("update {} t set {} where {}").format(table, sets, one),
            "deleted": sql.SQL("delete from {} t where {}").format(table, one),
        }
        for what, statement in tries.items():
            found[name, what] = _outcome(connection, statement)
    return found


def refused(before: Outcomes, after: Outcomes) -> Iterator[Break]:
    """Yield the writes that the server refuses after a change but accepted before."""
    for (table, what), said in after.items():
        was = before.get((table, what))
        if was is not None and said != was and not said.startswith(("ok", "57014")) and said[:5] != was[:5]:
            yield Break(table, f"a row that is {what} as older code does it is refused: {said[6:]}")
        elif was is not None and was.startswith("ok") and said.startswith("ok") and said != was:
            yield Break(table, f"a row that is {what} as older code does it is left out")


def _outcome(connection: psycopg.Connection, statement: sql.Composed) -> str:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local statement_timeout = '5s'")
            rows = connection.execute(statement).rowcount
            connection.execute("set constraints all immediate")
            return f"ok {rows}"
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"


def changes_meaning(up: str) -> bool:
    """Return whether a migration changes the meaning of rows, views or functions, which schemas do not show."""
    return bool(words_of([up]) & {"update", "delete", "insert", "view", "function", "procedure", "trigger"})
