"""The picture of who imports whom in docs/architecture.md, drawn from the code; import-linter holds the rule itself."""

import argparse
from pathlib import Path

import grimp

from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
_BEGIN, _END = "<!-- imports: made by make schema -->\n", "<!-- end of imports -->\n"
# Modules that belong together are drawn as one box.
_TOGETHER = {
    "connecting": "connecting, testing",
    "testing": "connecting, testing",
    "transactions": "transactions, locks, events",
    "locks": "transactions, locks, events",
    "events": "transactions, locks, events",
    "patches": "patches, exchange",
    "exchange": "patches, exchange",
}
_ENGINE = ("transactions, locks, events", "pool", "server", "sql", "errors", "printable")
_DOMAIN = ("dao", "patches, exchange", "rows")


def arrows() -> set[tuple[str, str]]:
    """Return who imports whom, by the names of boxes; what follows from other arrows is left out."""
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
    """Return the graph in Mermaid's language, which code hosts and editors draw."""
    found = sorted(arrows())
    names = sorted({name for arrow in found for name in arrow})
    ids = {name: name.split(",")[0] for name in names}
    lines = ["flowchart TD"]
    for title, group in (("engine", _ENGINE), ("domain", _DOMAIN)):
        lines += [f"  subgraph {title}", *(f'    {ids[name]}["{name}"]' for name in group if name in ids), "  end"]
    lines += [f'  {ids[name]}["{name}"]' for name in names if name not in (*_ENGINE, *_DOMAIN)]
    lines += [f"  {ids[one]} --> {ids[other]}" for one, other in found]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def main() -> None:
    """Run `python -m checks.imports [--check]`."""
    parser = argparse.ArgumentParser(prog="imports", description="Draw who imports whom into docs/architecture.md.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date (exit 1 where it isn't)")
    check = parser.parse_args().check
    before, rest = PAGE.read_text("utf-8").split(_BEGIN)
    text = f"{before}{_BEGIN}{picture()}{_END}{rest.partition(_END)[2]}"
    if not check:
        PAGE.write_text(text, "utf-8")
    elif text != PAGE.read_text("utf-8"):
        raise TomatoError("the picture in docs/architecture.md is stale: run make schema")


if __name__ == "__main__":
    run_command(main, "imports")
