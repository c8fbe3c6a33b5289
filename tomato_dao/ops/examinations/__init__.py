"""The doctor's examinations. Each examines one topic and returns its findings with advice."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import psycopg

from ...errors import TomatoError, from_driver
from .. import distributed
from .accounting import accounting
from .backups import backup
from .cluster import cluster
from .connections import connections
from .constraints import constraints, sequences
from .findings import ABSENT as ABSENT
from .findings import BAD as BAD
from .findings import NOTE as NOTE
from .findings import OK as OK
from .findings import UNKNOWN as UNKNOWN
from .findings import Finding as Finding
from .indexes import indexes
from .migrations import migrations
from .queries import queries
from .replication import archiving, notifications, replication
from .roles import examine_roles as examine_roles
from .server import server
from .sessions import locks, transactions
from .storage import cache, disk, freezing, integrity
from .tables import tables
from .work import leases


def examinations(connection: psycopg.Connection, pool_size: int) -> dict[str, Callable[[], Finding]]:
    """Return all examinations by topic. pool_size: the pool size of worker processes, for which there should be room."""
    found: dict[str, Callable[[], Finding]] = {
        "server": lambda: server(connection),
        "connections": lambda: connections(connection, pool_size),
        "schema": lambda: migrations(connection),
        "roles": lambda: examine_roles(connection),
        "transactions": lambda: transactions(connection),
        "locks": lambda: locks(connection),
        "notifications": lambda: notifications(connection),
        "tables": lambda: tables(connection),
        "indexes": lambda: indexes(connection),
        "constraints": lambda: constraints(connection),
        "sequences": lambda: sequences(connection),
        "freezing": lambda: freezing(connection),
        "integrity": lambda: integrity(connection),
        "cache": lambda: cache(connection),
        "disk": lambda: disk(connection),
        "replication": lambda: replication(connection),
        "archiving": lambda: archiving(connection),
        "leases": lambda: leases(connection),
        "accounting": lambda: accounting(connection),
        "queries": lambda: queries(connection),
        "backup": lambda: backup(connection),
    }
    with suppress(psycopg.Error):  # the others are shown
        if distributed.distributed(connection):
            found["cluster"] = lambda: cluster(connection)
    return found


def examine(connection: psycopg.Connection, pool_size: int, *, without: Collection[str] = ()) -> Iterator[Finding]:
    """Run all examinations except `without`. One that fails gives a finding that says why."""
    for topic, examination in examinations(connection, pool_size).items():
        if topic in without:
            continue
        try:
            yield examination()
        except (psycopg.Error, TomatoError) as error:
            told = from_driver(error) if isinstance(error, psycopg.Error) else error
            yield Finding(topic, UNKNOWN, f"not available because {told}")
