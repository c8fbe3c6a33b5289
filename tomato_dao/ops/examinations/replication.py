"""Output of the server: WAL for standbys, slots and the archive, and notifications for listeners."""

import psycopg

from ...sql.wording import counted
from ..cli import duration, megabytes
from .findings import BAD, NOTE, OK, Finding, rows

LAG = 60  # maximum lag of a standby in seconds
FULL, NEARLY_FULL = 0.5, 0.1  # used fraction of the notification queue


def replication(connection: psycopg.Connection) -> Finding:
    """Examine slots that retain WAL and standbys that lag; on a standby, examine receipt and replay of WAL."""
    slots, standbys, here = (rows(connection, f"health.{name}") for name in ("slots", "standbys", "standby"))
    level, details, advice = OK, [], []
    for row in slots:
        lost = row["status"] in ("unreserved", "lost")
        if row["active"] and not lost and row["kept"] <= 2 * row["usual"]:
            continue
        level = BAD if lost or row["kept"] > 2 * row["usual"] else NOTE if level == OK else level
        state = "is unusable: WAL that it needs was removed" if lost else f"keeps {megabytes(row['kept'])} of WAL"
        details.append(f"slot {row['name']} ({row['type']}, {'in use' if row['active'] else 'used by nobody'}) {state}")
        literal = "'" + row["name"] + "'"  # lower-case letters, digits and underscores
        advice.append(
            f"find out why its reader is slow, or end it and then select pg_drop_replication_slot({literal});"
            if row["active"]
            else f"start what reads it, or select pg_drop_replication_slot({literal});  -- WAL fills the disk otherwise"
        )
    for row in standbys:
        behind = [f"{megabytes(row['bytes_behind'])} of WAL"] if (row["bytes_behind"] or 0) > row["usual"] else []
        behind += [duration(row["seconds_behind"])] if (row["seconds_behind"] or 0) > LAG else []
        if behind:
            level = BAD
            details.append(
                f"standby {row['application']} ({row['state']}, {row['sync_state']}) is {' and '.join(behind)} behind"
            )
            advice.append("check its log and its load: a long query, its disk or the network may hold it up")
    for row in here:
        late = row["seconds_behind"] is not None and row["seconds_behind"] > LAG
        faults = [
            "replay is paused" if row["pause"] != "not paused" else "",
            "no WAL arrives: it is not connected to its primary" if not row["receives"] else "",
            f"the last transaction that it has replayed is {duration(row['seconds_behind'])} old" if late else "",
        ]
        if found := [fault for fault in faults if fault]:
            level = BAD
            details += found
            advice.append(
                "select pg_wal_replay_resume();" if row["pause"] != "not paused" else "look at the log here, and at the primary"
            )
    role = "a standby; " if here else ""
    return Finding(
        "replication",
        level,
        f"{role}{counted(len(standbys), 'standby')} connected, {counted(len(slots), 'slot')}",
        details,
        advice,
        {"slots": slots, "standbys": standbys, "standby": here[0] if here else None},
    )


def archiving(connection: psycopg.Connection) -> Finding:
    """Examine whether WAL is archived, if archiving is on."""
    (found,) = rows(connection, "health.archiver")
    if found["mode"] == "off":
        return Finding("archiving", OK, "off", figures=found)
    if found["fails"]:
        return Finding(
            "archiving",
            BAD,
            f"fails: {found['failed_file']} could not be archived ({counted(found['failures'], 'failure')})",
            ["WAL is kept until it is archived, and fills the disk"],
            ["see in the server's log what archive_command said, and mend it: the server tries again by itself"],
            found,
        )
    if not found["has_command"]:
        advice = ["set archive_command, or archive_mode = off: WAL is kept until it is archived"]
        return Finding("archiving", NOTE, "on, but archive_command is empty", advice=advice, figures=found)
    last = f", the last file {duration(found['archived_seconds'])} ago" if found["archived_seconds"] is not None else ""
    return Finding("archiving", OK, f"on{last}", figures=found)


def notifications(connection: psycopg.Connection) -> Finding:
    """Examine the notification queue, whose cleanup a listening session in an open transaction prevents."""
    (found,) = rows(connection, "health.notifications")
    full = found["used"] > NEARLY_FULL
    return Finding(
        "notifications",
        BAD if found["used"] > FULL else NOTE if full else OK,
        f"their queue is {found['used']:.0%} full",
        ["when it is full, every write that sends an event fails"] if full else [],
        [f"end the oldest transaction, which probably keeps them: select pg_terminate_backend({found['oldest']});"]
        if full
        else [],
        found,
    )
