"""An interrupt of a command, at whatever moment, shows no trace of Python's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

pytestmark = pytest.mark.slow

# Interrupts its process once, when a module begins to be imported, or when Python ends.
INTERRUPTER = """
import atexit, os, signal, sys
moment = os.environ["INTERRUPTED_AT"]

def interrupt():
    global moment
    moment = None
    os.kill(os.getpid(), signal.SIGINT)

def hear(event, arguments):
    if event == "import" and arguments[0] == moment:
        interrupt()

if moment == "exit":
    atexit.register(interrupt)
else:
    sys.addaudithook(hear)
"""
SCRIPT = """
import sys
from tomato_dao.__main__ import main
sys.exit(main())
"""
IN_A_DESTRUCTOR = """
import os, signal, threading
from tomato_dao.ops.cli import run_command

class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        [None for _ in range(1000)]

def main():
    Thing()
    threading.Event().wait(20)

run_command(main, "thing")
"""


@pytest.mark.parametrize("moment", ["typing", "psycopg", "tomato_dao.ops.cli", "zstandard", "exit"])
def test_an_interrupt_leaves_no_trace(tmp_path: Path, moment: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTER)
    script = tmp_path / "tomato-dao"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}", "INTERRUPTED_AT": moment}
    for command in (["-m", "tomato_dao"], [str(script)]):
        done = subprocess.run(
            [sys.executable, *command, "load", "--help"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, where a shell runs it in the background
        )
        assert (done.returncode, done.stderr) in ((-signal.SIGINT, ""), (130, "load: interrupted\n")), command


def test_an_interrupt_in_a_destructor_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_DESTRUCTOR],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, "thing: interrupted\n")
