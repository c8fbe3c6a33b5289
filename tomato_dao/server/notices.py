"""Logging of the server's notices and the driver's messages, one line each."""

import logging

import psycopg

from ..printable import one_line
from ..sql.statements import QueryRunner

logger = logging.getLogger(__name__)


def log_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    """Log a notice or warning of the server."""
    level = logging.WARNING if diagnostic.severity_nonlocalized == "WARNING" else logging.INFO
    logger.log(level, "%s: %s", diagnostic.severity, one_line(diagnostic.message_primary))


class PoolName(str):
    """The name of one of our pools. Its type identifies our pools in psycopg_pool's log records.

    refusal: the driver's message of the last failed connection attempt, or empty after a successful one.
    """

    __slots__ = ("refusal",)

    def __init__(self, _: str) -> None:
        self.refusal = ""


def retell(record: logging.LogRecord) -> bool:
    """Drop or rewrite psycopg_pool's records of lost and refused connections (a logging filter)."""
    match record.args:
        case (QueryRunner(), *_):
            return False
        case (PoolName() as name, error, *_):
            if isinstance(error, psycopg.Error):
                name.refusal = one_line(error)
                logger.warning("the pool of %s got no connection and tries again: %s", name, name.refusal)
            return False  # our pool asks it again after it has given up
    return True


logging.getLogger("psycopg.pool").addFilter(retell)
