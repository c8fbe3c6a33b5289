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


def migrate(url: str | None = None, timeout: float = 0) -> list[str]:
    """Bring a database to this code's layout: `tomato_dao.ops.migrate.migrate`, which is imported by who needs it only."""
    from .ops.migrate import migrate as run

    return run(url, timeout)


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
    "migrate",
]
