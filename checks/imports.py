"""Generator of the picture of imports, docs/imports.svg, from the code. import-linter enforces the rule."""

import argparse
from pathlib import Path

import grimp

from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command

PICTURE = Path(__file__).parents[1] / "docs" / "imports.svg"
_WIDTH, _ROW, _HIGH = 620, 74, 30
# Modules that belong together are drawn as one box.
_TOGETHER = {
    "connecting": "connecting, testing",
    "testing": "connecting, testing",
    "committing": "transactions, locks, events",
    "replicas": "transactions, locks, events",
    "transactions": "transactions, locks, events",
    "locks": "transactions, locks, events",
    "events": "transactions, locks, events",
    "patches": "patches, exchange",
    "exchange": "patches, exchange",
}
_ENGINE = ("transactions, locks, events", "otel", "pool", "server", "sql", "errors", "printable")
# Boxes that share a row, from left to right.
_ACROSS = ("transactions, locks, events", "dao", "pool", "otel", "patches, exchange", "server", "rows")
_DOMAIN = ("dao", "patches, exchange", "rows")


def arrows() -> set[tuple[str, str]]:
    """Return the imports between boxes, by name. Arrows that follow from others are omitted."""
    graph = grimp.build_graph("tomato_dao", "checks", exclude_type_checking_imports=True, cache_dir=None)
    found = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            one, other = _box(importer), _box(imported)
            if one and other and one != other:
                found.add((one, other))
    return {arrow for arrow in found if not _follows(arrow, found)}


def _box(module: str) -> str:
    """Return the box of a module; none for the package itself."""
    parts = module.split(".")
    if parts[0] == "checks":
        return "checks"
    name = parts[1] if len(parts) > 1 else ""
    return _TOGETHER.get(name, name.removeprefix("__").removesuffix("__") if name.startswith("__") else name)


def _follows(arrow: tuple[str, str], arrows: set[tuple[str, str]]) -> bool:
    """Return whether there is a longer way from one box to the other."""
    seen: set[str] = set()
    ahead = [other for one, other in arrows if one == arrow[0] and other != arrow[1]]
    while ahead:
        if (here := ahead.pop()) == arrow[1]:
            return True
        if here not in seen:
            seen.add(here)
            ahead += [other for one, other in arrows if one == here]
    return False


def picture() -> str:
    """Return the graph as SVG. Each box is above the boxes that it imports, and arrows point to imported boxes."""
    found = arrows()
    names = {name for arrow in found for name in arrow}
    rank: dict[str, int] = {}
    while len(rank) < len(names):
        for name in names - rank.keys():
            below = [other for one, other in found if one == name]
            if all(other in rank for other in below):
                rank[name] = 1 + max((rank[other] for other in below), default=-1)
    height = (max(rank.values()) + 1) * _ROW
    places = {}
    for name in sorted(names):
        row = [other for other in _ACROSS if rank.get(other) == rank[name]] or sorted(n for n in names if rank[n] == rank[name])
        step = _WIDTH / (len(row) + 1)
        places[name] = (round(step * (row.index(name) + 1)), height - (rank[name] + 1) * _ROW + 12)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 4}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height + 4}" fill="#ffffff"/>',
        '<marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 10,5 0,10z" fill="#57606a"/></marker>',
    ]
    for one, other in sorted(found):
        (x1, y1), (x2, y2) = places[one], places[other]
        lines.append(
            f'<path d="M{x1},{y1 + _HIGH} C{x1},{y1 + _HIGH + 30} {x2},{y2 - 34} {x2},{y2 - 1}" fill="none" '
            'stroke="#57606a" marker-end="url(#a)"/>'
        )
    for name, (x, y) in sorted(places.items()):
        wide = 8 * len(name) + 24
        fill = "#dbe5f1" if name in _ENGINE else "#e2f0d9" if name in _DOMAIN else "#f6f8fa"
        lines.append(
            f'<rect x="{x - wide // 2}" y="{y}" width="{wide}" height="{_HIGH}" rx="4" fill="{fill}" stroke="#57606a"/>'
            f'<text x="{x}" y="{y + 19}" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    """Run `python -m checks.imports [--check]`."""
    parser = argparse.ArgumentParser(prog="imports", description="Draw who imports whom into docs/imports.svg.")
    parser.add_argument("--check", action="store_true", help="only check that it is up to date (exit 1 if not)")
    check = parser.parse_args().check
    text = picture()
    if not check:
        PICTURE.write_text(text, "utf-8")
    elif text != PICTURE.read_text("utf-8"):
        raise TomatoError("docs/imports.svg is stale: run make schema")


if __name__ == "__main__":
    run_command(main, "imports")
