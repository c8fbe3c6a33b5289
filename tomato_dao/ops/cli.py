"""Common parts of all commands: one line and exit code 1 for errors, quiet end for closed pipes, formatting of figures."""

import argparse
import codecs
import gc
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import NoReturn

from ..errors import TomatoError
from ..printable import printable

_IN_ASCII = {"→": "->", "“": '"', "”": '"', "…": "...", "–": "-", "—": "-", "’": "'", "⏎": "\\n", "×": "x", "≥": ">="}
_PARAMETER = re.compile(r"\bwith (replace|skip_invalid|end_sessions)\b")  # the library's message


def run_command(main: Callable[[], None], name: str) -> None:
    """Run a command's main, and exit with its exit code.

    The code is 0 for success, 1 with one line on stderr for a failure, 130 with one line after an interrupt, 143 or 129
    after SIGTERM or SIGHUP, and 2 (from argparse) for misuse. name: the command, with which the lines begin. A second
    interrupt ends the process at once.
    """
    gc.freeze()  # imported objects stay alive: collecting them repeatedly would take a quarter of a short command's time
    gc.enable()
    try:
        _hear_signals()
        _open_what_is_closed()
        _print_anywhere()
        code = _outcome(main, name)
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is reported; Python's shutdown would show a traceback
    except KeyboardInterrupt as interrupt:
        print(f"{name}: {', '.join(['interrupted', *interrupt.args])}", file=sys.stderr)
        discard_output()
        code = 130
    if code:
        sys.exit(code)


def _outcome(main: Callable[[], None], name: str) -> int:
    """Run main, print its error, and return the exit code."""
    try:
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        return code
    except TomatoError as error:
        said = _PARAMETER.sub(lambda found: f"with --{found[1].replace('_', '-')}", str(error))
        print(f"{name}: {said}", file=sys.stderr)
    except BrokenPipeError:
        discard_output()
    except OSError as error:  # a full disk, or an unreadable file
        what = error.filename or "reading or writing failed"
        print(f"{name}: {printable(what)}: {error.strerror}", file=sys.stderr)
        discard_output()
    return 1


def discard_output() -> None:
    """Discard buffered output that cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _hear_signals() -> None:
    sys.unraisablehook = _unraisable
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # nothing is left half done


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one, while the first is reported, must not show a traceback
    raise KeyboardInterrupt


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    """Raise an interrupt again that came in a destructor or callback, where Python would only print it."""
    if issubclass(found.exc_type, KeyboardInterrupt):
        signal.signal(signal.SIGINT, _interrupt)
        main = threading.main_thread().ident or 0
        threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(found)


def _open_what_is_closed() -> None:
    """Replace closed standard streams, so that no other file gets their descriptors.

    A closed stdin is empty, writing to a closed stdout fails, and messages to a closed stderr are lost.
    """
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


class Parser(argparse.ArgumentParser):
    """An argument parser whose error messages are one line, whatever the arguments contain."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with 2."""
        super().error(printable(message, 1000))


def _print_anywhere() -> None:
    """Make standard output and error accept any text. Characters missing from their encoding become ASCII or “?”."""
    codecs.register_error("in-ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="in-ascii")


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace the first character that cannot be encoded. An undecodable byte of a file name stays unchanged."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return _IN_ASCII.get(character, "?"), error.start + 1


def file_name(text: str) -> str:
    """Return an argument that names a file. An empty one, such as from an unset variable, is misuse."""
    if not text:
        raise argparse.ArgumentTypeError("the file name is empty")
    return text


def period(text: str) -> timedelta:
    """Parse a duration: a number and s, min, h or d."""
    found = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"a duration must be a number and s, min, h or d, such as 36h, not {text!r}")
    return int(found[1]) * timedelta(seconds={"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]])


@contextmanager
def interrupted_as(consequence: str) -> Iterator[None]:
    """Add a consequence to the message of an interrupt in the block, unless the interrupt has a note already."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(*(getattr(interrupt, "__notes__", None) or [consequence])) from None


def megabytes(size: int) -> str:
    """Format a size in a readable unit."""
    return f"{size / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """Format a duration in a readable unit."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
