"""The server's notices go to the log."""

from logging import INFO, WARNING
from pathlib import Path

import psycopg
import pytest

from tests.helpers.statement_cases import query, run
from tomato_dao import connect
from tomato_dao.server.notices import logger


def test_notices_reach_the_log(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture, prepare: bool
) -> None:
    server.execute(
        """
        create function talk(n int) returns int language plpgsql as
        $$ begin raise notice 'noticed %', n; raise warning 'warned %', n; raise debug 'unheard'; return n; end $$
        """
    )
    talk = query(tmp_path, "select talk(:n)", "n")
    with connect(tomato_url, prepare=prepare) as db, caplog.at_level(INFO, "tomato_dao"):
        assert run(db, talk, 5) == [5]
        with db.transaction():
            assert run(db, talk, 6) == [6]
    assert caplog.record_tuples == [
        (logger.name, level, f"{kind}: {said} {n}")
        for n in (5, 6)
        for level, kind, said in ((INFO, "NOTICE", "noticed"), (WARNING, "WARNING", "warned"))
    ]
