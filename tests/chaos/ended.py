"""Dumps and loads whose processes are ended at random moments: they leave what was there, or what is new, and say which."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

import psycopg

from tests.chaos.transfers import Fuzz
from tests.helpers.standby_cases import until
from tests.helpers.transfer_cases import closed, dumped
from tomato_dao import connect, load

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_WAIT = 120  # seconds
_SESSIONS = (
    "select count(*) = 0 from pg_stat_activity where datname = current_database() and application_name = 'tomato-dao load'"
)


class Ended:
    """A database whose rows come from one of two dumps, a load of the other one, and a dump of what is there.

    longest: seconds within which signals come (default: as long as a load takes here).
    """

    def __init__(self, url: str, place: Path, fuzz: Fuzz, longest: float | None = None) -> None:
        self._url, self._place, self._fuzz = url, place, fuzz
        self._files = [place / "one.json", place / "other.json"]
        text = self._now()
        self._files[0].write_bytes(text)
        *lines, _, _, _ = text.decode().split("\n")
        self._files[1].write_bytes(closed("".join(f"{line}\n" for line in lines if '"model":"key_value"' not in line)))
        self._dumped = place / "dumps" / "x.json"
        self._dumped.parent.mkdir()
        with connect(self._url, pool_size=1) as db:
            load(db, self._files[1], replace=True)
        if longest is None:
            began = monotonic()
            assert self._start("load", "--replace", str(self._files[1])).wait(_WAIT) == 0
            longest = (monotonic() - began) * 1.1
        self._longest = longest
        self._files[1].write_bytes(self._now())  # with a trailer as dumps write it
        self._texts = [file.read_bytes() for file in self._files]
        assert self._texts[0] != self._texts[1]

    def one(self, seed: str) -> None:
        """End a load, and a dump at the same time, by a signal each."""
        chance = random.Random(seed)  # noqa: S311 (no secret)
        before = self._now()
        assert before in self._texts, "an earlier one has left half of it"
        new = 1 - self._texts.index(before)
        started = [
            self._start("load", "--replace", str(self._files[new])), self._start("dump", "--output", str(self._dumped)),
        ]  # fmt: skip
        for process in chance.sample(started, 2):
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, self._longest))
            process.send_signal(chance.choice(SIGNALS))
        said = [process.communicate(timeout=_WAIT)[1].decode() for process in started]
        with psycopg.connect(self._url, autocommit=True) as server:
            until(lambda: server.execute(_SESSIONS).fetchone() == (True,))
        judges: list[Callable[[int, str, bytes, bytes], str]] = [self._judge_load, self._judge_dump]
        for process, told, judge in zip(started, said, judges, strict=True):
            how = f"{process.returncode}, {told!r}"
            self._fuzz.seen[f"{judge.__name__.removeprefix('_judge_')}: ended with {process.returncode}"] += 1
            wrong = _unclear(process.returncode, told) or judge(process.returncode, told, before, self._texts[new])
            if wrong:
                self._fuzz.faults.append(f"signals {seed}: {wrong}: {how}")

    def _judge_load(self, code: int, told: str, old: bytes, new: bytes) -> str:
        now = self._now()
        if now not in (old, new):
            return "a load has left half of it"
        if now == new:
            return "what is said to be not loaded is there" if "nothing was loaded" in told else ""
        return "what is said to be loaded is not there" if code == 0 or "committed" in told else ""

    def _judge_dump(self, code: int, told: str, *_: bytes) -> str:
        there = self._dumped.read_bytes() if self._dumped.exists() else b""
        if there not in (b"", *self._texts):
            return "a dump has left half of it"
        if code == 0 and not there:
            return "what is said to be written is not there"
        is_left = {path.name for path in self._dumped.parent.iterdir()} - {self._dumped.name}
        if is_left and code == -signal.SIGKILL:
            assert self._start("dump", "--output", str(self._dumped)).wait(_WAIT) == 0  # which removes it
            is_left = {path.name for path in self._dumped.parent.iterdir()} - {self._dumped.name}
        self._dumped.unlink(missing_ok=True)
        return f"a dump has left {is_left}" if is_left else ""

    def _now(self) -> bytes:
        with connect(self._url, pool_size=1) as db:
            return dumped(db)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tomato_dao", *command],
            env={**os.environ, "DATABASE_URL": self._url, "OWNER_DATABASE_URL": "", "DIRECT_DATABASE_URL": ""},
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, where a shell runs it in the background
        )


def _unclear(code: int, told: str) -> str:
    """Return what is wrong with a command's last words."""
    is_pythons = "Traceback" in told and "tomato_dao" not in told and told.rstrip().endswith("KeyboardInterrupt")
    if is_pythons and code in (1, 130, -signal.SIGINT):
        return ""  # it was interrupted in Python's own start, before our first line
    if told.count("\n") > 1 or not told.strip("\n").isprintable():
        return "not one line"
    if code in (143, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL):
        return "it says something although it is gone" if told else ""
    return "" if code in (0, 130) and told else "another end"
