"""Accounting: the latest settled window, waiting records, and an unfinished run."""

from datetime import UTC, datetime

import psycopg

from ...sql.wording import counted
from ..cli import duration
from .findings import NOTE, OK, Finding, rows

LONG_UNSETTLED = 3600  # seconds since the end of the newest settled window, if records wait
MANY_WAITING = 1200  # seconds that a host's record may wait for the rollup
_STEPS = {
    **dict.fromkeys(range(-5, -1), "looks for what an old installation left to be done, level {level} of 4"),
    -1: "looks for longer records that an old installation left to be built",
    0: "takes up new records",
    **dict.fromkeys(range(1, 5), "rolls up, level {level} of 4"),
    **dict.fromkeys(range(5, 16), "builds longer records and prunes"),
}


def accounting(connection: psycopg.Connection) -> Finding:
    """Examine how far usage is rolled up, and whether its runs keep up."""
    (found,) = rows(connection, "accounting")
    waiting = f"{counted(found['waiting'], 'new record')} waiting"
    behind = found["waiting_seconds"] or 0
    summary = (
        f"settled up to {found['settled_at']:%Y-%m-%d %H:%M} UTC; {waiting}"
        if found["settled_at"]
        else f"no run yet; {waiting}"
    )
    details = []
    if (step := found["step"]) is not None:
        summary += f"; a run of {found['moment']:%Y-%m-%d %H:%M} UTC is unfinished"
        share = f", {found['share']:.0%} of its objects done" if found["share"] is not None else ""
        details.append(f"it {_STEPS[step].format(level=step + 6 if step < 0 else step)}{share}")
    late = behind > MANY_WAITING
    if late:
        details.append(f"the oldest new record has waited for {duration(behind)}")
    unsettled = (datetime.now(UTC).replace(tzinfo=None) - found["settled_at"]).total_seconds() if found["settled_at"] else 0
    if found["waiting"] and unsettled > LONG_UNSETTLED:
        late = True
        details.append(f"the newest settled window ended {duration(unsettled)} ago")
    advice = ["check that a worker calls usage.aggregate once a minute without an error"] * late
    return Finding("accounting", NOTE if late else OK, summary, details, advice, dict(found))
