"""The server's connection limit, and whether a pool fits into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from ..errors import from_driver
from .commands import command_line

BESIDE = 2  # sessions of a process outside its pool: one for all its locks, one for all its listeners

_FIGURES = """
select
  current_setting('max_connections')::int4,
  current_setting('superuser_reserved_connections')::int4
    + coalesce(current_setting('reserved_connections', true), '0')::int4,
  (
    select count(*)::int4
    from pg_stat_activity a
    where a.datid is not null and a.leader_pid is null
      and a.backend_type is distinct from 'autovacuum worker' and a.pid <> all (%(ours)s)
  )
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A server's max_connections, the number that it reserves, and the number that others use."""

    allowed: int
    reserved: int
    others: int

    @property
    def room(self) -> int:
        """Return the number of connections that this process can open."""
        return max(self.allowed - self.reserved - self.others, 0)

    def shortage(self, size: int, beside: int = 0) -> str:
        """Explain why a pool of this size does not fit and what to do, or return an empty string if it fits.

        beside: the number of sessions outside the pool.
        """
        if self.room >= size + beside:
            return ""
        more = f", with {beside} more sessions for locks and for listeners," if beside else ""
        return (
            f"a pool of {size}{more} does not fit: the server allows {self.allowed} connections, reserves {self.reserved}, "
            f"and others hold {self.others}, which leaves {self.room}; "
            f"make pools smaller or max_connections larger ({command_line('doctor')} says how)"
        )


def capacity(connection: psycopg.Connection, ours: Sequence[int] = ()) -> Capacity:
    """Return a server's capacity. ours: the process ids of further sessions that belong to this process."""
    try:
        (row,) = connection.execute(_FIGURES, {"ours": [*ours, connection.info.backend_pid]}).fetchall()
    except psycopg.Error as error:
        raise from_driver(error) from error
    return Capacity(*row)
