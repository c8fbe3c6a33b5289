"""The doctor's examinations: each examination looks at one thing and says what it found and what to do."""

from collections.abc import Callable, Iterator

import psycopg

from ...errors import TomatoError, from_driver
from .accounting import accounting
from .backups import backup
from .connections import connections
from .findings import BAD as BAD
from .findings import NOTE as NOTE
from .findings import OK as OK
from .findings import UNKNOWN as UNKNOWN
from .findings import Finding as Finding
from .indexes import indexes
from .migrations import migrations
from .queries import queries
from .roles import examine_roles as examine_roles
from .server import server
from .sessions import locks, transactions
from .tables import tables


def examine(connection: psycopg.Connection, pool_size: int) -> Iterator[Finding]:
    """All examinations of a database; pool_size: of the worker processes for which there should be room."""
    examinations: dict[str, Callable[[], Finding]] = {
        "server": lambda: server(connection),
        "connections": lambda: connections(connection, pool_size),
        "schema": lambda: migrations(connection),
        "roles": lambda: examine_roles(connection),
        "transactions": lambda: transactions(connection),
        "locks": lambda: locks(connection),
        "tables": lambda: tables(connection),
        "indexes": lambda: indexes(connection),
        "queries": lambda: queries(connection),
        "accounting": lambda: accounting(connection),
        "backup": lambda: backup(connection),
    }
    for topic, examination in examinations.items():
        try:
            yield examination()
        except (psycopg.Error, TomatoError) as error:
            told = from_driver(error) if isinstance(error, psycopg.Error) else error
            yield Finding(topic, UNKNOWN, f"not available because {told}")
