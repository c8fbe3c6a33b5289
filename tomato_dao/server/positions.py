"""Positions in the write-ahead log, passed between processes as tokens. A position covers all earlier commits."""

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
# The primary's position after all current commits. The name of a WAL file begins with the timeline, even before the first
# checkpoint after a promotion.
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
# A standby's timeline is that of its last restart point: it lags after a promotion, and is never ahead of the replay.
OF_STANDBY = replace(
    OF_PRIMARY,
    name="positions.of_standby",
    sql="""select /* positions.of_standby */ case when pg_is_in_recovery() then (
  select lpad(to_hex(c.timeline_id), 8, '0') from pg_control_checkpoint() c
) || '/' || pg_last_wal_replay_lsn() end""",
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position in a timeline. Later positions are greater."""

    timeline: int
    lsn: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Parse a token. Raises InvalidValue if it is malformed."""
        found = _TOKEN.fullmatch(text.upper()) if isinstance(text, str) else None
        if found is None:
            raise InvalidValue(f"{quoted(text)} is not a token: use the result of db.token()")
        return cls(int(found[1], 16), int(found[2], 16) << 32 | int(found[3], 16))

    def __str__(self) -> str:
        return f"{self.timeline:08X}/{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"

    def covers(self, other: "Position") -> bool:
        """Return whether another position is reached. Positions of another timeline never count as reached."""
        return self.timeline == other.timeline and self.lsn >= other.lsn


def of_standby(connection: psycopg.Connection) -> Position | None:
    """Return the position that a standby has replayed, or None if it was promoted."""
    found = ask(connection, OF_STANDBY.sql.encode())
    return Position.parse(found.decode()) if found else None
