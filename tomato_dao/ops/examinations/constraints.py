"""Rules that the database does not enforce: invalid constraints, disabled triggers, sequences near their end."""

import psycopg

from ...sql.wording import counted
from .findings import BAD, NOTE, OK, SHOWN, Finding, rows

_OF_SMALLER_TYPES = (2**15 - 1, 2**31 - 1)
NEARLY_USED, USED = 0.75, 0.9  # used fraction of a sequence's range


def constraints(connection: psycopg.Connection) -> Finding:
    """Examine whether all constraints are validated and all triggers enabled."""
    loose, disabled = rows(connection, "storage.constraints_not_valid"), rows(connection, "storage.disabled_triggers")
    details = [
        f"{row['name']} on {row['on_table']} "
        + ("was never checked for the rows of before" if row["enforced"] else "is not enforced: any row may break it")
        for row in loose
    ]
    for row in disabled:
        of_keys = [f"{row['of_keys']} of foreign keys"] if row["of_keys"] else []
        details.append(f"{row['on_table']}: triggers that don't fire: {', '.join([*(row['names'] or []), *of_keys])}")
    advice = [
        f"alter table {row['on_table']} validate constraint {row['name']};  -- the error shows the first row that breaks it"
        if row["enforced"]
        else f"alter table {row['on_table']} alter constraint {row['name']} enforced;"
        for row in loose
    ]
    advice += [
        f"alter table {row['on_table']} enable trigger {'all' if row['of_keys'] else 'user'};"
        "  -- then check rows written meanwhile"
        for row in disabled
    ]
    return Finding(
        "constraints",
        BAD if disabled else NOTE if loose else OK,
        f"{len(loose) or 'none'} not valid; {counted(len(disabled), 'table')} with disabled triggers",
        details,
        advice,
        {"not_valid": loose, "disabled_triggers": disabled},
    )


def sequences(connection: psycopg.Connection) -> Finding:
    """Examine the used fraction of each sequence's range."""
    found = rows(connection, "storage.sequences", SHOWN)
    full = [row for row in found if (row["used"] or 0) > NEARLY_USED]
    summary = counted(found[0]["sequences"] if found else 0, "sequence")
    if found and found[0]["used"]:
        summary += f", the fullest at {found[0]['used']:.0%}"
    return Finding(
        "sequences",
        BAD if any(row["used"] > USED for row in full) else NOTE if full else OK,
        summary,
        [f"{r['name']}, for {r['on_column'] or 'no column'}, is at {r['last']:,} of {r['most']:,}" for r in full],
        [
            f"a new migration that makes {row['on_column']} a bigint, and its sequence too"
            if row["on_column"] and row["most"] in _OF_SMALLER_TYPES
            else f"alter sequence {row['name']} no maxvalue no minvalue;  -- or restart it if numbers may be reused"
            for row in full
        ],
        {"sequences": found},
    )
