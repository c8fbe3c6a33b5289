"""How far a dump or load is, on a terminal's stderr once it takes longer than two seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from tqdm import tqdm

from ..transfer.report import Progress, Report

_AFTER = 2  # seconds
_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {postfix} [{elapsed}, {remaining} left]"
_FORMAT_UNKNOWN = "{desc}: {postfix} [{elapsed}]"


@contextmanager
def shown() -> Iterator[Report]:
    """What tells the terminal, where stderr is one."""
    start = monotonic()
    with tqdm(total=1, delay=_AFTER, disable=None, leave=False, dynamic_ncols=True) as bar:

        def show(told: Progress) -> None:
            megabytes = told.size / 1e6
            rate = megabytes / (monotonic() - start)
            bar.bar_format = _FORMAT_UNKNOWN if told.part is None else _FORMAT
            bar.set_description_str(told.doing, refresh=False)
            bar.set_postfix_str(f"{told.rows:,} rows, {megabytes:,.0f} MB, {rate:,.0f} MB/s", refresh=False)
            bar.update((told.part or 0) - bar.n)

        yield show
