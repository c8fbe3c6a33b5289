"""Errors that callers get: one class per kind of refusal, and one table from SQLSTATE and constraint to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from .printable import message as on_one_line
from .printable import one_line, quoted


class TomatoError(Exception):
    """Whatever this layer refuses; the driver's error, where there is one, is its `__cause__`.

    `entity` is what it is about ("host"), `key` says which one; both may be None. Its text is one line, in which nothing is
    left that a terminal would obey.
    """

    def __init__(self, message: str, *, entity: str | None = None, key: object = None) -> None:
        super().__init__(on_one_line(message))
        self.entity = entity
        self.key = key


class NotFound(TomatoError):
    """There is no such thing."""


class AlreadyExists(TomatoError):
    """Something of that name or key is there already."""


class NotEmpty(TomatoError):
    """It can't go while others need it."""


class InvalidValue(TomatoError):
    """A value breaks a rule, or is of a wrong type."""


class Ambiguous(TomatoError):
    """More than one thing goes by that name."""


class Busy(TomatoError):
    """Somebody else is at work on it."""


class LockLost(TomatoError):
    """The lock's session ended while work went on under it; somebody else may have had the lock since."""


class WrongState(TomatoError):
    """Its state does not allow that."""


class LastOwner(TomatoError):
    """A topology keeps its last owner."""


class NotAllowed(TomatoError):
    """The database role, or the read-only transaction, does not permit that."""


class Conflict(TomatoError):
    """Another transaction came first (serialization failure or deadlock); the transaction can be repeated."""


class Unavailable(TomatoError):
    """The server can't be reached, went away, or had no connection or time for the call."""


class OutcomeUnknown(Unavailable):
    """The answer to a COMMIT was lost, and whether the transaction was carried out could not be found out: look first."""


class WrongSchema(TomatoError):
    """The server, its encoding or the database's schema is not what this code needs."""


class QueryFileError(TomatoError):
    """A file of named queries is wrong; the message names file and line."""


class DatabaseFailure(TomatoError):
    """The server refused for a reason that no caller should be able to cause."""


# Registered by the domain: constraints whose name alone says too little, unique keys of several columns, and files of
# queries that are not named after the table that they are about.
_rules: dict[str, tuple[type[TomatoError], str]] = {}
_keys: dict[str, tuple[str, ...]] = {}
_entities: dict[str, str] = {}


def register(
    *,
    rules: Mapping[str, tuple[type[TomatoError], str]],
    keys: Mapping[str, tuple[str, ...]],
    entities: Mapping[str, str],
) -> None:
    """Register what a schema's names alone do not say, for the messages of errors.

    rules: the error to raise and the rule in words, by constraint. keys: the columns of unique keys of several columns, by
    constraint; any other key is named after its one column. entities: what a table or file of queries is about, where that
    is not the singular of its name.
    """
    _rules.update(rules)
    _keys.update(keys)
    _entities.update(entities)


# The longest prefix of the SQLSTATE that is listed decides.
_SQLSTATES: dict[str, type[TomatoError]] = {
    "23505": AlreadyExists,
    "23503": NotFound,  # NotEmpty where the query deletes
    "23001": NotEmpty,
    "23": InvalidValue,
    "22": InvalidValue,
    "21": InvalidValue,
    "25006": NotAllowed,
    "25P03": Unavailable,
    "25P04": Unavailable,
    "54": InvalidValue,
    "0A": InvalidValue,
    "25P02": WrongState,
    "42501": NotAllowed,
    "40": Conflict,
    "40003": Unavailable,
    "55P03": Busy,
    "57014": Unavailable,
    "57P": Unavailable,
    "53": Unavailable,
    "08": Unavailable,
    "28": Unavailable,
    "3D": Unavailable,
}


# The missing row, as the server names it in any language: “Key (site_id)=(5) …”
_MISSING = re.compile(r"\(\w+\)=\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Call:
    """The call that failed: for the message, and for what SQLSTATE alone can't tell.

    entity: what the query is about; verb: select, insert, update or delete; key: the names of the parameters that say which
    one it is about; values: all parameters by name.
    """

    entity: str
    verb: str
    key_names: tuple[str, ...]
    values: Mapping[str, object]

    def value(self, column: str) -> object:
        """Return the value given for a column, inside a patch or as a parameter; None where it can't be told."""
        patch = self.values.get("patch")
        if isinstance(patch, Mapping) and column in patch:
            return patch[column]
        return self.values.get(column)

    @property
    def key(self) -> object:
        """Which one the call is about: a value, or several of them; None for a new one or a list."""
        values = tuple(self.values[name] for name in self.key_names)
        return values if len(values) > 1 else next(iter(values), None)


def entity_of(table: str) -> str:
    """Return the singular of a table's name, as it stands in messages: "host_elements" → "host element"."""
    if table in _entities:
        return _entities[table]
    return " ".join(_singular(word) for word in table.split("_"))


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word if word.endswith("ss") else word.removesuffix("s")


# Noted at an error of a statement that a standby refused.
STANDBY = "this server is a standby, which takes no writes: name the primary in DATABASE_URL"


def from_driver(error: psycopg.Error, call: Call | None = None, *, moved: bool = False) -> TomatoError:
    """Return the error to raise for a driver's error (with it as the cause), by its SQLSTATE, constraint and query's verb.

    moved: whether the session was closed since its server can't be written to any more, and another one can.
    """
    state = error.sqlstate or ""
    diag = error.diag
    said = one_line(diag.message_primary or str(error).strip().split("\n")[0], 500)
    if state.startswith("22") and diag.message_detail:  # of other classes it may show a whole row
        said += f": {one_line(diag.message_detail, 500)}"
    kind = next((_SQLSTATES[state[:n]] for n in (5, 3, 2) if state[:n] in _SQLSTATES), DatabaseFailure)
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        kind = Unavailable
    if STANDBY in getattr(error, "__notes__", ()):
        said = f"{STANDBY} ({said})"
    if moved:
        kind, said = Unavailable, f"the server turned read-only, and another is looked for: {said}"
    if isinstance(error, psycopg.errors.DiskFull):
        said = f"the server's disk is full ({said}), and nothing of this was stored: free some space there and try again"
    if diag.constraint_name:
        return _from_constraint(kind, state, diag, said, call or Call("", "", (), {}))
    if call is None or not state:
        return kind(said)
    return kind(f"{call.entity}: {said}", entity=call.entity, key=call.key)


def _from_constraint(
    kind: type[TomatoError], state: str, diag: psycopg.errors.Diagnostic, said: str, call: Call
) -> TomatoError:
    """Constraints are named table_column_kind, so that the column can be read off them."""
    constraint, table = diag.constraint_name or "", diag.table_name or ""
    entity = call.entity or entity_of(table)
    column = constraint.removeprefix(f"{table}_")
    for suffix in ("_key", "_fkey", "_check", "_pkey"):
        column = column.removesuffix(suffix)
    value = call.value(column)
    if constraint in _rules:
        kind, rule = _rules[constraint]
        given = f"{column} is {quoted(value)}" if value is not None else ""
        detail = said if state.startswith("TD") else given
        return kind(f"{entity}: {rule}{f': {detail}' if detail else ''}", entity=entity, key=call.key)
    if kind is AlreadyExists:
        columns = {name: call.value(name) for name in _keys.get(constraint, (column,))}
        taken = ", ".join(f"the same {n}" if v is None else f"{n} {quoted(v)}" for n, v in columns.items())
        key = tuple(columns.values()) if len(columns) > 1 else call.value(column)
        return AlreadyExists(f"{entity_of(table)} with {taken} already exists", entity=entity_of(table), key=key)
    if state == "23001" or (state == "23503" and call.verb == "delete"):
        return NotEmpty(
            f"{entity} {quoted(call.key)} can't go: it still has {table.replace('_', ' ')}", entity=entity, key=call.key
        )
    if kind is NotFound:
        wanted = re.sub(r"(_[ab]|[12])?_id$", "", column).replace("_", " ")
        if missing := _MISSING.search(diag.message_detail or ""):  # of a batch, or of two sites in either order
            value = int(missing[1])
        shown = f"{wanted} {quoted(value)}" if value is not None else f"a {wanted}"
        return NotFound(f"{shown} does not exist", entity=wanted, key=value)
    given = f"{column} = {quoted(value)} breaks" if value is not None else "a value breaks"
    return kind(f"{entity}: {given} the rule {constraint}", entity=entity, key=call.key)


def rule_of(constraint: str) -> str | None:
    """Return what a constraint demands, where its name alone says too little."""
    return _rules[constraint][1] if constraint in _rules else None
