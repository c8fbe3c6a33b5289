"""Positions in the write-ahead log, as tokens that travel between processes: all that was committed before one was taken."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import psycopg

from ..errors import InvalidValue
from ..printable import quoted
from ..sql.query import Query
from .session import ask

_TOKEN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})/([0-9A-F]{1,8})")
# The position behind all that is committed now, of the primary. The name of a WAL file begins with the timeline, also before
# the first checkpoint after a promotion.
OF_PRIMARY = Query(
    name="positions.of_primary",
    parameters=(),
    kind="$",
    record_class=None,
    nullable=frozenset(),
    claims={},
    doc="",
    sql="select /* positions.of_primary */ left(pg_walfile_name(p), 8) || '/' || p from pg_current_wal_insert_lsn() p",
    verb="select",
    path=Path(__file__),
    line=0,
    sql_line=0,
    repeatable=True,
)
# A standby's timeline is that of its last restart point: behind after a promotion, and never ahead of what it replays.
OF_STANDBY = replace(
    OF_PRIMARY,
    name="positions.of_standby",
    sql="""select /* positions.of_standby */ case when pg_is_in_recovery() then (
  select lpad(to_hex(c.timeline_id), 8, '0') from pg_control_checkpoint() c
) || '/' || pg_last_wal_replay_lsn() end""",
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position of a timeline: its history since the last promotion; later ones are greater."""

    timeline: int
    lsn: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the position of a token. Raises InvalidValue where it is none."""
        found = _TOKEN.fullmatch(text.upper()) if isinstance(text, str) else None
        if found is None:
            raise InvalidValue(f"{quoted(text)} is not a token: use the result of db.token()")
        return cls(int(found[1], 16), int(found[2], 16) << 32 | int(found[3], 16))

    def __str__(self) -> str:
        return f"{self.timeline:08X}/{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"

    def covers(self, other: "Position") -> bool:
        """Return whether all up to another position is there; of another timeline that can't be told."""
        return self.timeline == other.timeline and self.lsn >= other.lsn


def of_standby(connection: psycopg.Connection) -> Position | None:
    """Return how far a standby has replayed; None where it is none any more."""
    found = ask(connection, OF_STANDBY.sql.encode())
    return Position.parse(found.decode()) if found else None
