"""tomato-dao: the ToMaTo backend's database layer. `connect()` gives a `Database` with a DAO per entity."""

import _signal  # type: ignore[import-not-found] # built in, as sys is: while signal is imported, an interrupt may come
import sys

# A command must not show a traceback if it is interrupted during its imports: until run_command handles interrupts, they end it
# immediately. While Python searches for the module to run, sys.argv[0] is -m.
_program = (getattr(sys, "argv", None) or [""])[0]
if _program == "-m":
    _program = "".join(sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]) if "-m" in sys.orig_argv else ""
if (
    _program.rpartition("/")[2] in ("tomato_dao", "tomato-dao")
    and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
):
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from .errors import (  # noqa: E402
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
    OutcomeUnknown,
    QueryFileError,
    TomatoError,
    Unavailable,
    WrongSchema,
    WrongState,
)

if TYPE_CHECKING:
    from .aio.database import AsyncDatabase
    from .connecting import connect, connect_async
    from .database import Database
    from .ops.migrate import migrate
    from .transfer.dump import dump
    from .transfer.legacy.load import load_legacy
    from .transfer.load import load

__version__ = "1.0.0"

_MODULES = {
    "AsyncDatabase": ".aio.database",
    "Database": ".database",
    "connect": ".connecting",
    "connect_async": ".connecting",
    "dump": ".transfer.dump",
    "load": ".transfer.load",
    "load_legacy": ".transfer.legacy.load",
    "migrate": ".ops.migrate",
}


def __getattr__(name: str) -> object:
    """Import on first use what not every program needs: modules too, as `tomato_dao.rows`."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """Return all public names, imported or not."""
    return sorted({*globals(), *__all__})


__all__ = [
    "AlreadyExists",
    "Ambiguous",
    "AsyncDatabase",
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
    "OutcomeUnknown",
    "QueryFileError",
    "TomatoError",
    "Unavailable",
    "WrongSchema",
    "WrongState",
    "connect",
    "connect_async",
    "dump",
    "load",
    "load_legacy",
    "migrate",
]
