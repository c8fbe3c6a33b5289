"""The tests themselves, on a server of DATABASE_URL: they say so, and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.helpers.own_servers import start_anew
from tomato_dao.ops import embedded
from tomato_dao.ops.scratch import with_database

pytestmark = pytest.mark.slow

ALL = """
select 'database', datname, '' from pg_database
union all
select 'role', rolname, rolconfig::text from pg_roles
order by 1, 2
"""


def test_tests_on_a_given_server_say_so_and_leave_nothing_behind(tmp_path: Path) -> None:
    url = with_database(start_anew(tmp_path), "postgres")
    try:
        with psycopg.connect(url, autocommit=True) as server:
            before = server.execute(ALL).fetchall()
            test = "tests/ops/test_privileges.py::test_a_user_who_may_not_read_learns_as_whom_to_connect"
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
            environment = {**os.environ, "DATABASE_URL": url}
            done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
            assert "1 passed" in done.stdout
            assert "\nserver: that of DATABASE_URL, /" in done.stdout
            assert server.execute(ALL).fetchall() == before
    finally:
        embedded.remove(tmp_path)
