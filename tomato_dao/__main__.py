"""`tomato-dao`: all operators' commands as subcommands. `python -m tomato_dao` is the same command."""

import gc
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from . import __version__
from .ops.cli import Parser, run_command

# Each subcommand is a module of ops, with a line of help.
_COMMANDS = {
    "migrate": ("migrate", "migrate the database to this version's schema"),
    "backfill": ("backfill", "run a backfill: fill columns that a migration added, in batches"),
    "dump": ("dump", "write the whole database as JSON"),
    "load": ("load", "load a dump, all or nothing"),
    "query": ("query", "list the named queries, or run one"),
    "doctor": ("doctor", "check the server and the database for problems"),
    "backup": ("backup", "back up the database to a file"),
    "restore": ("restore", "replace the database by a backup"),
    "roles": ("roles", "create the roles and grant them their privileges"),
    "distribute": ("distribute", "move usage records to the workers of a Citus cluster"),
    "undistribute": ("undistribute", "bring distributed usage records back to the coordinator"),
    "embedded": ("embedded_command", "start, stop or use the embedded server"),
}


def main() -> None:
    """Run `tomato-dao [--version] [COMMAND …]`."""
    prog = "python -m tomato_dao" if Path(sys.argv[0]).name == "__main__.py" else "tomato-dao"
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _COMMANDS:
        run(arguments[0], f"{prog} {arguments[0]}", arguments[1:])
    else:
        run_command(lambda: _show(prog, arguments), "tomato-dao")


def run(name: str, prog: str, arguments: Sequence[str]) -> None:
    """Run a subcommand. prog: the command as the user typed it, for the usage line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until run_command can report the effect of an interrupt
    gc.disable()  # until all imports are done
    # Imported here for a measured start-up cost: importing all modules executes 38 % more instructions than dump alone.
    module = import_module(f".ops.{_COMMANDS[name][0]}", __package__)
    run_command(lambda: module.main(prog, arguments), name)


def _show(prog: str, arguments: Sequence[str]) -> None:
    """Print the version or the list of subcommands; exit with 2 for a subcommand that does not exist."""
    parser = Parser(
        prog=prog,
        description="Operate the ToMaTo backend's database.",
        epilog=f"“{prog} COMMAND --help” explains a command. Exit codes: 0 success, 1 failure, 2 misuse; "
        "migrate also 3: stopped before a contract migration.",
    )
    parser.add_argument("--version", action="version", version=f"tomato-dao {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, summary) in _COMMANDS.items():
        commands.add_parser(name, help=summary)
    parser.parse_args(arguments)
    parser.print_help()


if __name__ == "__main__":
    main()
