"""Subcommands as operators type them, run in a fork of this process: a new interpreter and its imports cost 0.3 s each time."""

import logging
import os
import selectors
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NoReturn

from tomato_dao import __main__ as command_line

CHECKOUT = Path(__file__).parents[2]
_MODULE = [sys.executable, "-m", "tomato_dao"]


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: str | Path = "/",
    stdin: bytes | None = None,
    timeout: int = 300,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end: in a fork where it is bin/… or python -m tomato_dao …, else as any other program.

    A program of its own is also what reads standard input, and what has settings of Python's in its environment.
    """
    begin = None if stdin or _sets_python_up(environment) else _subcommand(command)
    if begin is None:
        return subprocess.run(command, env=environment, cwd=cwd, input=stdin, capture_output=True, timeout=timeout, check=False)
    out, err = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: other threads are not in the child
        child = os.fork()
    if not child:
        _become(begin, environment, cwd, out[1], err[1])
    for end in (out[1], err[1]):
        os.close(end)
    printed = _read(out[0], err[0], monotonic() + timeout)
    if printed is None:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if printed is None:
        raise subprocess.TimeoutExpired(command, timeout)
    return subprocess.CompletedProcess(command, code, *printed)


def _read(out: int, err: int, deadline: float) -> tuple[bytes, bytes] | None:
    """Return what comes from two pipes until both have ended; None where they have not by then."""
    came = {out: b"", err: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in came:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and (ready := selector.select(max(deadline - monotonic(), 0))):
            for key, _ in ready:
                if part := os.read(key.fd, 1 << 16):
                    came[key.fd] += part
                else:
                    selector.unregister(key.fd)
        is_over = not selector.get_map()
    for pipe in came:
        os.close(pipe)
    return (came[out], came[err]) if is_over else None


def _sets_python_up(environment: Mapping[str, str]) -> bool:
    return any(
        environment[name] != os.environ.get(name) for name in environment if name.startswith("PYTHON") and name != "PYTHONPATH"
    )


def _subcommand(command: Sequence[str]) -> Callable[[], None] | None:
    """Return what the interpreter of a command would run; None for another program."""
    program, *arguments = command
    path = Path(program)
    if path.parent == CHECKOUT / "bin":
        return partial(
            _begin, ["-c", path.name, *arguments], lambda: command_line.run(path.name, f"bin/{path.name}", arguments)
        )
    if list(command[:3]) == _MODULE:
        return partial(_begin, [str(command_line.__file__), *command[3:]], command_line.main)
    return None


def _begin(argv: list[str], main: Callable[[], None]) -> None:
    sys.argv = argv
    main()


def _become(begin: Callable[[], None], environment: Mapping[str, str], cwd: str | Path, out: int, err: int) -> NoReturn:
    """Be a new process, as far as a command can tell, and end with its exit code."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begin()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 (what an interpreter prints)
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
