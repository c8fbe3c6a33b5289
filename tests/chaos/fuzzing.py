"""Mutants of a dump of every table, and dumps and loads that are ended, for as long as said."""

from pathlib import Path
from time import monotonic

import psycopg

from tests.chaos.ended import Ended
from tests.chaos.small_dump import fill
from tests.chaos.transfers import Fuzz, Loads
from tomato_dao import connect


def fuzz(url: str, place: Path, seed: str, seconds: float) -> Fuzz:
    """Do each of both for so many seconds, in an empty database, with files in a place, and return what came of it."""
    found = Fuzz()
    fill(url)
    with connect(url) as db, psycopg.connect(url, autocommit=True) as server:
        Loads(db, server, found).go_on(seed, seconds, check_only=0.7)
    ended, n, end = Ended(url, place, found), 0, monotonic() + seconds
    while monotonic() < end:
        ended.one(f"{seed}.{n}")
        n += 1
    return found
