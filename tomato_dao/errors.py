"""The errors that callers get, and the table that maps SQLSTATEs and constraints to them.

TomatoError
├── NotFound            the row does not exist
├── AlreadyExists       a unique name or key is taken
├── NotEmpty            other rows still need this one
├── InvalidValue        a value breaks a rule or has a wrong type
├── Ambiguous           several rows have this name
├── WrongState          the object's state does not allow the call
├── LastOwner           a topology keeps its last owner
├── Busy                another worker holds the lock
├── LockLost            a lock or lease ended before the work
├── Conflict            another transaction came first: repeat this one
├── NotAllowed          the database role may not do that
├── Unavailable         no server, connection or time for the call
│   └── OutcomeUnknown  the answer to a COMMIT was lost
├── WrongSchema         the database's schema does not fit this code
├── QueryFileError      a query file is wrong
└── DatabaseFailure     the server refused for another reason: a bug

docs/errors.md shows each with a message, its cause and the remedy.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from .printable import message as on_one_line
from .printable import one_line, quoted


class TomatoError(Exception):
    """Base class of all errors of this package; the driver's error, if there is one, is its `__cause__`.

    `entity` names the kind of object ("host") and `key` the object; both may be None. The message is one line without
    control characters.
    """

    def __init__(self, message: str, *, entity: str | None = None, key: object = None) -> None:
        super().__init__(on_one_line(message))
        self.entity = entity
        self.key = key


class NotFound(TomatoError):
    """The row does not exist, or was deleted meanwhile."""


class AlreadyExists(TomatoError):
    """A row with this unique name or key exists already."""


class NotEmpty(TomatoError):
    """The row cannot be deleted while other rows need it."""


class InvalidValue(TomatoError):
    """A value breaks a rule or has a wrong type; nothing was changed."""


class Ambiguous(TomatoError):
    """Several rows have this name; name the origin, too."""


class Busy(TomatoError):
    """Another worker holds the lock; try again later or wait."""


class LockLost(TomatoError):
    """A lock's session or a lease ended before the work did; another worker may have taken it over."""


class WrongState(TomatoError):
    """The object's state does not allow the call, or an earlier call in the transaction failed."""


class LastOwner(TomatoError):
    """The last owner of a topology cannot be removed; give another user the role first."""


class NotAllowed(TomatoError):
    """The database role, or a read-only transaction, does not permit the call."""


class Conflict(TomatoError):
    """Another transaction came first (serialization failure or deadlock): repeat this one, as `db.run()` does."""


class Unavailable(TomatoError):
    """The server cannot be reached, went away, or had no connection or no time for the call."""


class OutcomeUnknown(Unavailable):
    """The answer to a commit was lost and the outcome cannot be found out: check it before repeating the work."""


class WrongSchema(TomatoError):
    """The server's version, the database's encoding or its schema does not fit this code."""


class QueryFileError(TomatoError):
    """A file of named queries is wrong; the message names file and line."""


class DatabaseFailure(TomatoError):
    """The server refused for a reason that no caller should be able to cause; report it as a bug."""


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
    """Register what error messages need to know about a schema.

    rules: the error class and the rule in words, by constraint. keys: the columns of unique keys with several columns, by
    constraint. Other keys are named after their one column. entities: the singular for tables and query files whose name
    does not give it.
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
    "58030": Unavailable,  # a device does not answer, or a worker of a cluster in the middle of an import
    "08": Unavailable,
    "28": Unavailable,
    "3D": Unavailable,
}


# The missing row, as the server names it in any language: “Key (site_id)=(5) …”
_MISSING = re.compile(r"\(\w+\)=\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Call:
    """The call that failed, for the error's class and message.

    entity: the kind of object. verb: select, insert, update or delete. key: the names of the parameters that identify the
    object. values: all parameters by name.
    """

    entity: str
    verb: str
    key_names: tuple[str, ...]
    values: Mapping[str, object]

    def value(self, column: str) -> object:
        """Return the value given for a column, as a parameter or in a patch; None if it is not known."""
        patch = self.values.get("patch")
        if isinstance(patch, Mapping) and column in patch:
            return patch[column]
        return self.values.get(column)

    @property
    def key(self) -> object:
        """The key of the object: a value, or several; None for a new object or a list."""
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
STANDBY = "this server is a standby, which accepts no writes: set DATABASE_URL to the primary"


def from_driver(error: psycopg.Error, call: Call | None = None, *, moved: bool = False) -> TomatoError:
    """Return the error to raise for a driver's error, by its SQLSTATE, its constraint and the query's verb.

    moved: whether the session was closed because its server has become read-only and another may be writable.
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
        kind, said = Unavailable, f"the server has become read-only, and a writable one is being looked for: {said}"
    if isinstance(error, psycopg.errors.DiskFull):
        said = f"the server's disk is full ({said}), and nothing was stored: free some space there and try again"
    if diag.constraint_name:
        return _from_constraint(kind, state, diag, said, call or Call("", "", (), {}))
    if call is None or not state:
        return kind(said)
    return kind(f"{call.entity}: {said}", entity=call.entity, key=call.key)


def _from_constraint(
    kind: type[TomatoError], state: str, diag: psycopg.errors.Diagnostic, said: str, call: Call
) -> TomatoError:
    """Return the error for a violated constraint. Their names, table_column_kind, contain the column."""
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
            f"{entity} {quoted(call.key)} cannot be deleted: it still has {table.replace('_', ' ')}",
            entity=entity,
            key=call.key,
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
    """Return the rule that a constraint stands for, or None if its name says enough."""
    return _rules[constraint][1] if constraint in _rules else None
