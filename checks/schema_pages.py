"""Generator of the picture docs/schema.svg and the page docs/reference/tables.md from a live database."""

import argparse
from dataclasses import dataclass
from html import escape
from pathlib import Path

import psycopg

from tomato_dao.errors import TomatoError
from tomato_dao.ops import embedded
from tomato_dao.ops.cli import run_command
from tomato_dao.ops.scratch import scratch_database

DOCS = Path(__file__).parents[1] / "docs"
PICTURE, PAGE = DOCS / "schema.svg", DOCS / "reference" / "tables.md"

# The picture's columns from left to right, each from top to bottom. Other tables are added to the last one.
_GRID = (
    ("organizations", "users", "quotas", "topology_permissions", "tasks", "key_values"),
    ("sites", "topologies", "elements", "connections", "link_measurements"),
    ("hosts", "host_elements", "host_connections", "network_instances", "templates_on_hosts", "error_groups", "error_dumps"),
    ("networks", "templates", "profiles", "usage_statistics", "usage_records", "usage_arrivals", "usage_due", "usage_progress"),
)
_HUB = "usage_statistics"  # nearly every table refers to it, so its lines would hide all others
_WIDTH, _LINE, _GAP, _ACROSS, _MARGIN = 190, 16, 22, 110, 12

_COLUMNS = """
select
  c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  coalesce(pg_get_expr(d.adbin, d.adrelid), case when a.attidentity <> '' then 'identity' end, ''), a.attgenerated <> '',
  (
    select f.relname from pg_constraint k inner join pg_class f on f.oid = k.confrelid
    where k.conrelid = c.oid and k.contype = 'f' and a.attnum = k.conkey[array_position(k.conkey, a.attnum)]
    order by array_length(k.conkey, 1), k.conname limit 1
  ),
  exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p' and a.attnum = any (k.conkey))
from pg_class c
inner join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and c.relname <> 'schema_migrations'
order by c.relname, a.attnum
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    default: SQL; of a generated column (is_generated) the expression. refers_to: the table of its foreign key.
    """

    name: str
    type: str
    not_null: bool
    default: str
    is_generated: bool
    refers_to: str | None
    in_key: bool


def tables() -> dict[str, list[Column]]:
    """Return the columns of every table of a migrated database."""
    found: dict[str, list[Column]] = {}
    with scratch_database(embedded.start()) as url, psycopg.connect(url) as connection:
        for table, *column in connection.execute(_COLUMNS):
            found.setdefault(table, []).append(Column(*column))
    return found


def page(columns: dict[str, list[Column]]) -> str:
    """Return the page with a section per table."""
    lines = [
        "# Tables",
        "",
        "Made by `make schema` from the migrations. [The domain](../domain.md) explains the rules that hold between them.",
    ]
    for table, own in columns.items():
        lines += ["", f"## {table}", "", "| column | type | null | default | refers to |", "|---|---|---|---|---|"]
        for c in own:
            key = " (key)" if c.in_key else ""
            refers = f"[{c.refers_to}](#{c.refers_to})" if c.refers_to else ""
            default = f"`{' '.join(c.default.split())}`".replace("|", "\\|") if c.default else ""
            if c.is_generated:
                default = f"always {default}"
            lines.append(f"| {c.name}{key} | {c.type} | {'' if c.not_null else 'yes'} | {default} | {refers} |")
    return "\n".join(lines) + "\n"


def picture(columns: dict[str, list[Column]]) -> str:
    """Return the tables with their references as SVG. References to usage_statistics are marked with a diamond."""
    named = {table for column in _GRID for table in column}
    grid = [[table for table in column if table in columns] for column in _GRID]
    grid[-1] += [table for table in columns if table not in named]
    places: dict[str, tuple[int, int]] = {}
    shown = {table: [c for c in own if c.in_key or c.refers_to] for table, own in columns.items()}
    height = 0
    for n, column in enumerate(grid):
        y = _MARGIN
        for table in column:
            places[table] = (_MARGIN + n * (_WIDTH + _ACROSS), y)
            y += (len(shown[table]) + 1) * _LINE + 6 + _GAP
        height = max(height, y)
    width = len(grid) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _MARGIN + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for table, own in shown.items():
        for n, c in enumerate(own):
            if c.refers_to in places and c.refers_to != _HUB:
                lines.append(_line(places[table], n, places[str(c.refers_to)]))
    for table, own in shown.items():
        lines += _box(table, own, places[table])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _line(one: tuple[int, int], n: int, other: tuple[int, int]) -> str:
    """Return the curve from a column to the table that it refers to."""
    y1, y2 = one[1] + (n + 1) * _LINE + 12, other[1] + 9
    if one[0] == other[0]:  # above or below: around the right side
        x1 = x2 = one[0] + _WIDTH
        out = x1 + 30
        curve = f"C{out},{y1} {out},{y2}"
    else:
        x1, x2 = (one[0], other[0] + _WIDTH) if other[0] < one[0] else (one[0] + _WIDTH, other[0])
        middle = (x1 + x2) // 2
        curve = f"C{middle},{y1} {middle},{y2}"
    path = f'<path d="M{x1},{y1} {curve} {x2},{y2}" fill="none" stroke="#7a8ca5"/>'
    return f'{path}<circle cx="{x2}" cy="{y2}" r="3" fill="#7a8ca5"/>'


def _box(table: str, own: list[Column], place: tuple[int, int]) -> list[str]:
    x, y = place
    high = (len(own) + 1) * _LINE + 6
    lines = [
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{high}" rx="3" fill="#f6f8fa" stroke="#57606a"/>',
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="18" rx="3" fill="#dbe5f1" stroke="#57606a"/>',
        f'<text x="{x + 6}" y="{y + 13}" font-weight="bold">{escape(table)}</text>',
    ]
    for n, c in enumerate(own):
        at = y + (n + 1) * _LINE + 15
        marks = ("●" if c.in_key else "") + ("◇" if c.refers_to == _HUB else "")
        lines.append(f'<text x="{x + 6}" y="{at}">{escape(c.name)}{" (null)" if not c.not_null else ""}</text>')
        lines.append(f'<text x="{x + _WIDTH - 6}" y="{at}" text-anchor="end">{marks}</text>')
    return lines


def main() -> None:
    """Run `python -m checks.schema_pages [--check]`."""
    parser = argparse.ArgumentParser(prog="schema pages", description="Write docs/schema.svg and docs/reference/tables.md.")
    parser.add_argument("--check", action="store_true", help="only check that they are up to date (exit 1 if not)")
    check = parser.parse_args().check
    found = tables()
    for path, text in ((PICTURE, picture(found)), (PAGE, page(found))):
        if not check:
            path.write_text(text, "utf-8")
        elif not path.exists() or text != path.read_text("utf-8"):
            raise TomatoError(f"docs/{path.relative_to(DOCS)} is stale: run make schema")


if __name__ == "__main__":
    run_command(main, "schema pages")
