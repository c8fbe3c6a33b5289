"""Refusals of `connect`, and their messages."""

import subprocess
import sys
import traceback

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tomato_dao import InvalidValue, TomatoError, Unavailable, WrongSchema, connect
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import probe, schema


def everything_said(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def test_an_empty_database_is_refused_with_what_to_do(tomato_server_url: str) -> None:
    with (
        scratch_database(tomato_server_url, migrated=False) as url,
        pytest.raises(WrongSchema, match=rf"lacks {len(schema.known())} of .* migrations .* run make migrate"),
    ):
        connect(url)


def test_a_pending_migration_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("delete from schema_migrations where version = %s", [schema.known()[-1]])
    with pytest.raises(WrongSchema, match=rf"lacks 1 of .*{schema.known()[-1]} is next.*run make migrate"):
        connect(tomato_url)


def test_an_unknown_migration_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into schema_migrations (version) values ('99990101000000')")
    server.execute("comment on table schema_migrations is 'oldest supported schema version: 99990101000000'")
    with pytest.raises(WrongSchema, match=r"has schema version 99990101000000, .* newer tomato-dao; install that version"):
        connect(tomato_url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection, encoding: str) -> None:
    name = f"{server.info.dbname}_{encoding.lower()}"
    url = with_database(tomato_url, name)
    server.execute(
        sql.SQL("create database {} encoding {} locale 'C' template template0").format(sql.Identifier(name), encoding)
    )
    try:
        with pytest.raises(WrongSchema, match=rf"{name} is encoded in {encoding}; .* create database … encoding 'UTF8'"):
            connect(url)
    finally:
        drop_database(url)


def test_a_database_that_is_not_there_is_unavailable(tomato_url: str) -> None:
    with pytest.raises(Unavailable, match="no_such_database") as refused:
        connect(with_database(tomato_url, "no_such_database"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/tomato", Unavailable, "can't connect to 127.0.0.1:1, database tomato"),
        ("postgresql://me:s3cret@[::1]:1/tomato", Unavailable, "can't connect to ::1:1, database tomato"),
        ("host=127.0.0.1 port=1 user=me password=s3cret dbname=tomato", Unavailable, "can't connect to 127.0.0.1:1"),
        ("postgresql://me@127.0.0.1:1/tomato?password=s3cret", Unavailable, "can't connect to 127.0.0.1:1"),
        ("postgresql://me@127.0.0.1:1,127.0.0.2:2/x", Unavailable, "can't connect to 127.0.0.1:1, 127.0.0.2:2, database x"),
        (
            "postgresql:///x?hostaddr=127.0.0.1,127.0.0.2&port=1,2",
            Unavailable,
            "can't connect to 127.0.0.1:1, 127.0.0.2:2, database x",
        ),
        ("host=127.0.0.1,::1,127.0.0.2 port=1,2", Unavailable, "can't connect to 127.0.0.1:1, ::1:2, 127.0.0.2:?"),
        ("postgresql://me@no%20host,no%20one/x", Unavailable, "can't connect to no host:5432, no one:5432, database x"),
        ("host=127.0.0.1,127.0.0.2 port=1 user=me", Unavailable, "can't connect to 127.0.0.1:1, 127.0.0.2:1"),
        ("postgresql://me:s3cret@/tomato?host=/nowhere", Unavailable, "can't connect to /nowhere"),
        ("postgresql://me:s3cret@lab..example/tomato", InvalidValue, "can't connect to lab..example:5432"),
        (f"postgresql://me:s3cret@{'lab' * 30}.example/tomato", InvalidValue, "the host name is unknown"),
        ("postgresql://me:s3cret@127.0.0.1,[::1]:1/tomato", TomatoError, "127.0.0.1"),
        ("postgresql://me:s3cret@127.0.0.1:port/tomato", TomatoError, "port"),
        ("postgresql://me:s3cret@127.0.0.1:1/tomato?sslmode=maybe", TomatoError, "sslmode"),
        ("postgresql://me:s3cret@127.0.0.1:1/tomato?nonsense=1", TomatoError, "postgresql://"),
        ("postgresql://me:s3cret%zz@127.0.0.1:1/tomato", TomatoError, "postgresql://"),
        ("mysql://me:s3cret@127.0.0.1/tomato", InvalidValue, "postgresql://user@host:port/database"),
        ("me:s3cret@127.0.0.1/tomato", InvalidValue, "postgresql://user@host:port/database"),
        ("not a URL, s3cret", InvalidValue, "postgresql://user@host:port/database"),
        # characters that should have been written as %40 and %2F
        ("postgresql://me:pa@s3cret@127.0.0.1:1/tomato", TomatoError, ""),
        ("postgresql://me:pa/s3cret@127.0.0.1:1/tomato", TomatoError, ""),
    ],
)
def test_a_server_out_of_reach_is_reported_in_one_line_without_the_password(
    url: str, kind: type[TomatoError], said: str
) -> None:
    with pytest.raises(kind) as refused:
        connect(url, timeout=0.1)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "s3cret" not in everything_said(refused.value)


def test_a_wrong_password_is_reported_without_the_password(tomato_url: str) -> None:
    url = make_conninfo(tomato_url, password="s3cret")
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        with pytest.raises(Unavailable, match="check user and password") as refused:
            connect(url)
        assert "s3cret" not in everything_said(refused.value)
    else:
        pytest.skip("this server asks for no password")


@pytest.mark.slow
def test_a_late_import_works() -> None:
    program = """
import tomato_dao
assert {"connect", "Database", "dump", "migrate"} <= set(dir(tomato_dao))
assert tomato_dao.rows.Host.__name__ == "Host"
assert not hasattr(tomato_dao, "nothing")
assert tomato_dao.connect is tomato_dao.connecting.connect
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_locks_and_listeners_go_where_the_database_is_without_a_direct_url(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, server: psycopg.Connection
) -> None:
    monkeypatch.setenv("DATABASE_URL", tomato_url)
    monkeypatch.delenv("DIRECT_DATABASE_URL", raising=False)
    with connect(application_name="here") as db, db.exclusive("topology", 1) as lock, db.listen("topologies"):
        lock.check()
        assert server.execute(
            "select array_agg(a.application_name order by a.application_name) from pg_stat_activity a"
            " where a.datname = current_database() and a.application_name like 'here %'"
        ).fetchone() == (["here events", "here locks"],)


def test_a_server_that_is_too_old_is_refused_with_what_to_do(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "OLDEST_SERVER", 990000)
    with pytest.raises(WrongSchema, match=r"is PostgreSQL \d+; tomato-dao needs 15 or later: upgrade the server"):
        connect(tomato_url)
