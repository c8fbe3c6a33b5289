"""Notices of the server and messages of the driver, as one line each in the log."""

import logging

import psycopg

from ..printable import one_line
from ..sql.statements import QueryRunner

logger = logging.getLogger(__name__)


def log_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    """Write a notice or warning of the server to the log."""
    level = logging.WARNING if diagnostic.severity_nonlocalized == "WARNING" else logging.INFO
    logger.log(level, "%s: %s", diagnostic.severity, one_line(diagnostic.message_primary))


class PoolName(str):
    """The name of a pool of ours, known by its type in what psycopg_pool logs.

    refusal: what the driver said when it last could not connect; empty since a connection has come.
    """

    __slots__ = ("refusal",)

    def __init__(self, _: str) -> None:
        self.refusal = ""


def retell(record: logging.LogRecord) -> bool:
    """Drop or rewrite psycopg_pool's records of lost and refused connections, as a logging filter."""
    match record.args:
        case (QueryRunner(), *_):
            return False
        case (PoolName() as name, error, *_):
            if isinstance(error, psycopg.Error):
                name.refusal = one_line(error)
                logger.warning("the pool of %s got no connection and tries again: %s", name, name.refusal)
            return False  # where it gives up, it is asked again all the same
    return True


logging.getLogger("psycopg.pool").addFilter(retell)
