"""Statistics of a process's pool, and of the holders of its connections."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from psycopg.pq import TransactionStatus

from ..errors import Unavailable
from ..sql.counters import QueryStats
from ..sql.statements import QueryRunner
from ..sql.wording import counted
from .commands import command_line


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Statistics of a pool.

    size: the maximum number of connections. connections, idle: the open connections, and those of them that are idle. waiting:
    tasks that are waiting now. waits, waited: the number of tasks that had to wait so far, and their total seconds.
    turned_away: the number of rejected tasks, after their timeout or because of `max_waiting`.
    """

    size: int
    connections: int
    idle: int
    waiting: int
    waits: int
    waited: float
    turned_away: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of a Database since it was opened (in a forked process: since the fork). queries: by query name."""

    pool: PoolStats
    queries: dict[str, QueryStats]


def holders(connections: Iterable[QueryRunner]) -> str:
    """Describe the holders of connections, longest first: " (hosts.update: 2, for up to 3.1 s; a transaction after …)"."""
    now = monotonic()
    found: dict[str, list[float]] = {}
    for connection in connections:
        found.setdefault(_holder(connection), []).append(now - connection.began)
    order = sorted(found.items(), key=lambda item: -max(item[1]))
    told = "; ".join(f"{name}: {len(ages)}, for up to {max(ages):.1f} s" for name, ages in order)
    return f" ({told})" if told else ""


def rejected(how: str, size: int, busy: Sequence[QueryRunner], connections: int, waiting: int, refusal: str) -> Unavailable:
    """Return the error of a rejected task.

    how: the reason. busy: the connections in use. connections: the number of open connections. waiting: the number of waiting
    tasks. refusal: the server's message if it refuses further connections.
    """
    some = f"all {size}" if len(busy) == size else f"{len(busy)} of at most {size}"
    advice = "enlarge the pool or shorten the tasks"
    if refusal:
        advice = (
            f"the server allows it no more connections than {connections}: {refusal} ({command_line('doctor')} shows its limit)"
        )
    return Unavailable(
        f"{how}: {some} of this process's pool are at work{holders(busy)} "
        f"with {counted(waiting, 'more task')} in the queue; {advice}"
    )


def _holder(connection: QueryRunner) -> str:
    last = connection.query.name if connection.query else None
    status = connection.pgconn.transaction_status
    if status == TransactionStatus.ACTIVE:
        return last or "SQL of connection()"
    if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        return f"a transaction after {last}" if last else "a transaction"
    return f"connection() after {last}" if last else "connection()"
