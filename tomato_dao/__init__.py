"""tomato-dao: the ToMaTo backend's database layer. `connect()` gives a `Database` with a DAO per entity."""

from .database import Database, connect
from .errors import (
    AlreadyExists,
    Ambiguous,
    Busy,
    Conflict,
    DatabaseFailure,
    InvalidValue,
    LastOwner,
    LockLost,
    NotAllowed,
    NotEmpty,
    NotFound,
    QueryFileError,
    TomatoError,
    Unavailable,
    WrongLayout,
    WrongState,
)
from .transfer.dump import dump
from .transfer.legacy.load import load_legacy
from .transfer.load import load

__all__ = [
    "AlreadyExists",
    "Ambiguous",
    "Busy",
    "Conflict",
    "Database",
    "DatabaseFailure",
    "InvalidValue",
    "LastOwner",
    "LockLost",
    "NotAllowed",
    "NotEmpty",
    "NotFound",
    "QueryFileError",
    "TomatoError",
    "Unavailable",
    "WrongLayout",
    "WrongState",
    "connect",
    "dump",
    "load",
    "load_legacy",
]
