"""Progress of a dump or load, on a terminal's stderr once it takes longer than two seconds."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ..sql.wording import counted
from ..transfer.report import Progress, Report

_AFTER = 2  # seconds
_EVERY = 0.2  # seconds
_BAR = "{desc}: {percentage:3.0f}% |{bar}|{postfix} [{elapsed}, {remaining} left]"
_NO_BAR = "{desc}{postfix} [{elapsed}]"


@contextmanager
def shown() -> Iterator[Report]:
    """Return a function that reports progress on stderr, or None if that is no terminal."""
    if not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"):
        yield lambda _: None
        return
    from tqdm import tqdm  # imported only when needed

    with tqdm(total=1, delay=_AFTER, leave=False, dynamic_ncols=True) as bar:
        start = monotonic()
        due = start + _AFTER

        def show(told: Progress) -> None:
            nonlocal due
            now = monotonic()
            if now < due:
                return
            due = now + _EVERY
            size = told.size / 1e6
            bar.n = told.part or 0
            bar.bar_format = _NO_BAR if told.part is None else _BAR
            bar.set_description_str(told.doing, refresh=False)
            bar.set_postfix_str(f"{counted(told.rows, 'row')}, {size:,.0f} MB, {size / (now - start):,.0f} MB/s", refresh=False)
            bar.refresh()
            bar.last_print_t = bar.start_t + _AFTER  # so that it is erased at the end

        yield show
