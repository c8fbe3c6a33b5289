"""`tomato-dao embedded`: start, stop and use the embedded server."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import Unavailable
from ..printable import printable
from ..server.probe import maintenance, probe
from ..server.target import target_of
from . import embedded, programs
from .cli import Parser
from .embedded_server import tests_dir

_ACTIONS = {
    "start": "start it, unless it is running, and print its URL",
    "stop": "stop it",
    "status": "print its state, version, data directory and URL; exit with 1 if it is not running",
    "psql": "start it, unless it is running, and open psql on its database; further arguments are for psql",
    "remove": "stop it and remove its data",
}


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao embedded start|stop|status|psql|remove`."""
    parser = Parser(
        prog=prog,
        description="Start, stop and use the embedded PostgreSQL server of TOMATO_DATA_DIR. Commands start it when they need "
        "it, unless DATABASE_URL is set.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, summary in _ACTIONS.items():
        actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    if arguments[:1] == ["psql"] and arguments[1:] not in (["-h"], ["--help"]):
        _psql(arguments[1:])  # argparse would interpret psql's options
    action = parser.parse_args(arguments).action
    if action == "start":
        print(embedded.start())
    elif action == "stop":
        embedded.stop(tests_dir())
        print("stopped the embedded server" if embedded.stop() else "the embedded server was not running")
    elif action == "status":
        sys.exit(0 if _print_status() else 1)
    else:
        embedded.remove(tests_dir())
        embedded.remove()
        print("removed the embedded server and its data")


def _print_status() -> bool:
    """Print the server's state. Return True if it is running."""
    status = embedded.status()
    if status.running:
        with maintenance(status.url) as connection:
            print(f"running: PostgreSQL {connection.info.parameter_status('server_version')}")
    elif status.version:
        print(f"not running: PostgreSQL {status.version}")
    else:
        print("not running, without data so far")
    print(f"data directory  {printable(status.data, None)}")
    print(f"log             {printable(status.log, None)}")
    print(f"URL             {status.url}")
    if os.environ.get("DATABASE_URL", "").strip():
        print("DATABASE_URL is set: commands use that server, not this one")
    return status.running


def _psql(arguments: Sequence[str]) -> None:
    """Replace this process by psql on the server's database. Raises Unavailable if the embedded server has no psql."""
    url = embedded.start()
    with probe(url) as connection:  # its error has the remedy if the database does not exist yet
        target = target_of(connection)
    psql = _own_psql() or programs.binaries() / "psql"
    if not os.access(psql, os.X_OK):
        raise Unavailable(f"the embedded server comes without psql; with one of your own: psql {shlex.quote(url)}")
    os.execve(psql, [os.fspath(psql), *arguments], target.environment("psql"))  # noqa: S606 (without a shell on purpose)


def _own_psql() -> Path | None:
    """Return the user's psql if it supports this version of PostgreSQL, since the embedded one has no line editing."""
    psql = shutil.which("psql")
    if psql is None:
        return None
    told = subprocess.run([psql, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\(PostgreSQL\) (\d+)", told)
    return Path(psql) if version and int(version[1]) >= int(programs.MAJOR) else None
