"""A load while others write: it waits for them, tells for whom, and nobody is cut off."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from logging.handlers import QueueHandler
from queue import SimpleQueue

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import blocked
from tests.helpers.transfer_cases import dumped
from tomato_dao import Database, NotEmpty, NotFound
from tomato_dao.transfer.engine import logger

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner


@contextmanager
def writers(db: Database, user_id: int, number: int) -> Iterator[None]:
    """Threads whose transactions work on several tables, one after the other."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                with db.transaction():
                    topology = db.topologies.create("t", owner_id=user_id)
                    machine = db.elements.create(topology.id, "openvz")
                    db.users.set_attrs(user_id, {"seen": machine.id})
            except NotFound:  # it was replaced
                pass

    with ThreadPoolExecutor(number) as threads:
        found = [threads.submit(work) for _ in range(number)]
        try:
            yield
        finally:
            over.set()
        for thread in found:
            thread.result()


def test_writers_and_loads_wait_for_each_other(db: Database, tomato_url: str, world: World) -> None:
    text = dumped(db)
    with tomato_dao.connect(tomato_url, pool_size=1) as loading, writers(db, world.user.id, 3):
        for n in range(4):
            tomato_dao.load(loading, io.BytesIO(text), replace=n % 2 == 0, merge=n % 2 == 1)
        with pytest.raises(NotEmpty):
            tomato_dao.load(loading, io.BytesIO(text))


def lock_users(url: str) -> None:
    with psycopg.connect(url, application_name="a waiter") as connection:
        connection.execute("lock table users in share mode")


def test_sessions_that_a_load_waits_for_are_named_and_not_hindered(
    db: Database, tomato_url: str, server: psycopg.Connection, world: World, request: pytest.FixtureRequest
) -> None:
    text = dumped(db)
    heard: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(heard)
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    with ThreadPoolExecutor(2) as threads, psycopg.connect(tomato_url, application_name="a shell") as shell:
        shell.execute("update users set realname = 'x'")
        waiter = threads.submit(lock_users, tomato_url)  # which has no lock, so nobody waits for it
        until(server, *blocked("a waiter"))
        doing: list[str] = []
        load = threads.submit(
            tomato_dao.load, db, io.BytesIO(text), replace=True, progress=lambda told: doing.append(told.doing)
        )
        said = heard.get(timeout=60).getMessage()
        assert said == f"the load waits for other sessions' transactions: a shell (pid {shell.info.backend_pid})"
        assert "waiting for other sessions' transactions" in doing
        shell.execute("update organizations set description = 'y'")
        shell.commit()
        waiter.result(60)
        load.result(60)
    assert json.loads(dumped(db)) == json.loads(text)


def test_a_load_waits_for_a_session_that_has_taken_an_id(db: Database, tomato_url: str, server: psycopg.Connection) -> None:
    """Such a session holds a lock on a sequence, and on no table."""
    text = dumped(db)
    waits = (
        "exists (select from pg_stat_activity a where a.datname = current_database() and a.wait_event_type = 'Lock'"
        " and clock_timestamp() - a.query_start > '0.5 s')"
    )
    with ThreadPoolExecutor(1) as threads, psycopg.connect(tomato_url) as shell:
        shell.execute("select nextval(pg_get_serial_sequence('organizations', 'id'))")
        load = threads.submit(tomato_dao.load, db, io.BytesIO(text), replace=True)
        until(server, waits)
        shell.rollback()
        load.result(60)
