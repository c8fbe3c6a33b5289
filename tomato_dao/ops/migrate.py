"""Migrations: dbmate applies db/migrations; an advisory lock lets any number of processes ask for it at once."""

import argparse
import os
import shutil
import subprocess
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from .. import layout
from ..errors import TomatoError, Unavailable, from_driver
from ..server import check_server, connection_settings, database_url, probe, unreachable
from .cli import run_command

_LOCK = 0x746F6D61746F  # "tomato"


def migrate(url: str | None = None) -> list[str]:
    """Bring a database to this code's layout; makes the database where it isn't there yet.

    url: the owner's URL (default: OWNER_DATABASE_URL, else DATABASE_URL, else the embedded server). Returns the versions
    that were applied, none where nothing was pending. Raises WrongLayout where the database is of a newer layout,
    Unavailable where the server or dbmate is missing, TomatoError with dbmate's words where a migration fails: then the
    layout is as it was before that migration.
    """
    url = url or os.environ.get("OWNER_DATABASE_URL") or database_url()
    create_database(url)
    with probe(url) as connection:
        connection.execute("select pg_advisory_lock(%s)", [_LOCK])
        before = layout.applied(connection)
        if before != layout.known():
            if set(before) - set(layout.known()):
                layout.check(connection)
            dbmate(url, "migrate")
        layout.check(connection)
        return [version for version in layout.applied(connection) if version not in before]


def create_database(url: str) -> None:
    """Make the database that a URL names, encoded in UTF8, where it isn't there. Raises Unavailable where it can't."""
    settings = connection_settings(url, "tomato-dao migrate")
    name = str(settings.get("dbname") or settings.get("user") or "")
    try:
        psycopg.connect(**settings).close()  # type: ignore[arg-type]
        return
    except psycopg.errors.ConnectionTimeout as error:
        raise unreachable(settings, error) from error
    except psycopg.OperationalError as error:
        failed = unreachable(settings, error)  # closed to us, or not there: the maintenance database tells
    except psycopg.Error as error:
        raise from_driver(error) from error
    try:
        maintenance = psycopg.connect(autocommit=True, **{**settings, "dbname": "postgres"})  # type: ignore[arg-type]
    except psycopg.OperationalError:
        raise failed from None
    with maintenance:
        if maintenance.execute("select from pg_database where datname = %s", [name]).fetchone():
            raise failed
        check_server(maintenance)
        try:
            maintenance.execute(sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            pass  # another process was first
        except psycopg.Error as error:
            said = error.diag.message_primary
            raise Unavailable(f"the database {name} is not there and can't be made: {said}") from error


def dbmate(url: str, *arguments: str, path: str | None = None) -> str:
    """Run dbmate on a database and return what it printed. Raises TomatoError with its words where it fails.

    path: where programs are looked for (default: PATH).
    """
    address, password = _without_password(url)
    environment = {
        **os.environ,
        "DATABASE_URL": address,
        "DBMATE_MIGRATIONS_DIR": os.fspath(layout.DB_DIR / "migrations"),
        "PGOPTIONS": "-c lock_timeout=10s -c client_min_messages=warning",
        "PATH": path or os.environ.get("PATH", os.defpath),
    }
    if password:
        environment["PGPASSWORD"] = password
    options = [] if "dump" in arguments else ["--no-dump-schema"]
    done = subprocess.run(
        [_dbmate_program(), "--env-file", os.devnull, *options, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        if password:
            said = said.replace(password, "…")
        raise TomatoError(f"dbmate {arguments[0]} failed: {said}")
    return done.stdout


def _dbmate_program() -> str:
    """DBMATE, else a 2.x on PATH, else that of the checkout's node_modules."""
    if given := os.environ.get("DBMATE"):
        if found := shutil.which(given):
            return found
        raise Unavailable(f"DBMATE names {given}, which can't be run")
    if found := shutil.which("dbmate"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if "version 2." in version:
            return found
    if found := shutil.which(layout.DB_DIR.parent / "node_modules" / ".bin" / "dbmate"):
        return found
    raise Unavailable("migrations need dbmate 2: put it on PATH, or name it in DBMATE (npm install dbmate brings it)")


def _without_password(url: str) -> tuple[str, str | None]:
    """A URL as dbmate reads it, and its password apart: dbmate passes its URL to other programs as an argument."""
    settings = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = settings.pop("password", None)
    host, port = settings.pop("host", ""), settings.pop("port", "")
    user, name = settings.pop("user", ""), settings.pop("dbname", "")
    if settings.setdefault("sslmode", os.environ.get("PGSSLMODE", "prefer")) in ("prefer", "allow"):
        with probe(url) as connection:  # not every dbmate 2 knows these
            settings["sslmode"] = "require" if connection.pgconn.ssl_in_use else "disable"
    for ours in ("options", "application_name"):
        settings.pop(ours, None)
    if not host or host.startswith("/"):
        settings["socket"] = f"{host or '/var/run/postgresql'}"
        netloc = f"{quote(user, safe='')}@"
    else:
        netloc = f"{quote(user, safe='')}@{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    return f"postgres://{netloc}/{quote(name, safe='')}?{urlencode(settings, quote_via=quote)}", password


def main() -> None:
    """`python -m tomato_dao.ops.migrate`"""
    argparse.ArgumentParser(
        prog="migrate",
        description="Bring the database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded server's) to this layout.",
    ).parse_args()
    applied = migrate()
    for version in applied:
        print(f"applied {version}")
    print(f"the layout is {layout.known()[-1]}{'' if applied else ', nothing to do'}")


if __name__ == "__main__":
    run_command(main)
