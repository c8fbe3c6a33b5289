"""What all commands share: errors become one line and exit code 1, a closed pipe ends quietly; how figures are written."""

import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TomatoError

_PARAMETER = re.compile(r"\bwith (replace|skip_invalid|end_sessions)\b")  # in the library's words


def run_command(main: Callable[[], None]) -> None:
    """Run a command's main: exit 0 where it is fine, 1 with a line on stderr where it failed, 130 with one where it was
    interrupted, 143 where it was told to end (argparse: 2 for misuse)."""
    gc.freeze()  # what is imported stays: looking at it again and again would be a quarter of a short command
    gc.enable()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # nothing half done stays
    try:
        main()
        sys.stdout.flush()
    except TomatoError as error:
        said = _PARAMETER.sub(lambda found: f"with --{found[1].replace('_', '-')}", str(error))
        print(f"{Path(sys.argv[0]).stem}: {said}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, or what can't be read
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        print(f"{Path(sys.argv[0]).stem}: {', '.join(['interrupted', *interrupt.args])}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(130)


@contextmanager
def interrupted_as(consequence: str) -> Iterator[None]:
    """An interrupt in the block says what it has led to."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(consequence) from None


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """A time span as people read it."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
