"""What a caller can be told: one class per kind of refusal, and one table from SQLSTATE and constraint to them."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg


class TomatoError(Exception):
    """Whatever this layer refuses; the driver's error, where there is one, is its `__cause__`.

    `entity` is what it is about ("host"), `key` says which one; both may be None.
    """

    def __init__(self, message: str, *, entity: str | None = None, key: object = None) -> None:
        super().__init__(message)
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


class WrongLayout(TomatoError):
    """The server, its encoding or the database's layout is not what this code needs."""


class QueryFileError(TomatoError):
    """A file of named queries is wrong; the message names file and line."""


class DatabaseFailure(TomatoError):
    """The server refused for a reason that no caller should be able to cause."""


# Constraints whose name alone says too little, or whose SQLSTATE would mislead.
_RULES: dict[str, tuple[type[TomatoError], str]] = {
    "elements_parent_id_fkey": (InvalidValue, "the parent must be of the same topology and a type that has such children"),
    "elements_parent_id_check": (InvalidValue, "an interface needs a parent; machines, switches and networks have none"),
    "elements_connection_id_fkey": (InvalidValue, "the connection must be of the same topology"),
    "elements_connection_id_check": (InvalidValue, "only interfaces and endpoints can be connected"),
    "elements_state_check": (InvalidValue, "the state must be one that an element of this type can have"),
    "elements_removable": (WrongState, "only what is created can go (an interface also prepared)"),
    "connections_two_ends": (InvalidValue, "a connection has exactly two ends"),
    "topology_permissions_last_owner": (LastOwner, "a topology keeps its last owner"),
    "users_flags_known": (InvalidValue, "a flag that is added must be a known one"),
    "host_elements_element_id_check": (InvalidValue, "it serves an element or a connection, not both"),
    "host_connections_element_id_check": (InvalidValue, "it serves an element or a connection, not both"),
}

# The longest prefix of the SQLSTATE that is listed decides.
_SQLSTATES: dict[str, type[TomatoError]] = {
    "23505": AlreadyExists,
    "23503": NotFound,  # NotEmpty where the query deletes
    "23001": NotEmpty,
    "23": InvalidValue,
    "22": InvalidValue,
    "21": InvalidValue,
    "25006": NotAllowed,
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


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked for when it failed: for the message, and for what SQLSTATE alone can't tell.

    entity: what the query is about; verb: select, insert, update or delete; values: its parameters by name.
    """

    entity: str
    verb: str
    values: Mapping[str, object]

    def value(self, column: str) -> object:
        """What was given for a column, as a parameter or inside a patch; None where it can't be told."""
        patch = self.values.get("patch")
        if isinstance(patch, Mapping) and column in patch:
            return patch[column]
        return self.values.get(column)

    @property
    def key(self) -> object:
        """What was named first: the key in every query that has one."""
        return next(iter(self.values.values()), None)


def entity_of(table: str) -> str:
    """The singular of a table's name, as it stands in messages: "host elements" → "host element"."""
    words = table.replace("_", " ")
    return words[:-3] + "y" if words.endswith("ies") else words.removesuffix("s")


def from_driver(error: psycopg.Error, call: Call | None = None) -> TomatoError:
    """The error to raise for a driver's error (with it as the cause), by its SQLSTATE, constraint and query's verb."""
    state = error.sqlstate or ""
    diag = error.diag
    constraint = diag.constraint_name or ""
    detail = diag.message_primary or str(error).strip().split("\n")[0]
    if constraint in _RULES:
        kind, rule = _RULES[constraint]
        entity = entity_of(diag.table_name or "")
        key = call.key if call else None
        return kind(f"{entity}: {rule} ({detail})" if diag.message_primary else rule, entity=entity, key=key)
    kind = next((_SQLSTATES[state[:n]] for n in (5, 3, 2) if state[:n] in _SQLSTATES), DatabaseFailure)
    if not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        kind = Unavailable
    if call is None or not constraint:
        where = f"{call.entity}: " if call and kind is not Unavailable else ""
        return kind(f"{where}{detail}", entity=call.entity if call else None, key=call.key if call else None)
    return _constraint_error(kind, state, constraint, diag.table_name or "", detail, call)


def _constraint_error(
    kind: type[TomatoError], state: str, constraint: str, table: str, detail: str, call: Call
) -> TomatoError:
    """Constraints are named table_columns_kind, so that name and columns can be read off them."""
    column = constraint.removeprefix(f"{table}_")
    for suffix in ("_key", "_fkey", "_check", "_pkey"):
        column = column.removesuffix(suffix)
    value = call.value(column)
    if kind is AlreadyExists:
        names = [n for n in call.values if n in column] or [n for n in _patch_keys(call) if n in column]
        key = ", ".join(f"{n} {call.value(n)!r}" for n in names) or column
        return AlreadyExists(f"{entity_of(table)} with {key} already exists", entity=entity_of(table), key=key)
    if state in ("23503", "23001") and (call.verb == "delete" or state == "23001"):
        text = f"{call.entity} {call.key!r} can't go: it still has {table.replace('_', ' ')}"
        return NotEmpty(text, entity=call.entity, key=call.key)
    if kind is NotFound:
        entity = column.removesuffix("_id").rstrip("12").replace("_", " ")
        shown = f"{entity} {value!r}" if value is not None else f"a {entity}"
        return NotFound(f"{shown} does not exist", entity=entity, key=value)
    given = f" {column} = {_short(value)}" if value is not None else ""
    return kind(f"{entity_of(table) or call.entity}:{given} breaks the rule {constraint} ({detail})", entity=call.entity, key=call.key)


def _patch_keys(call: Call) -> list[str]:
    patch = call.values.get("patch")
    return [str(k) for k in patch] if isinstance(patch, Mapping) else []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
