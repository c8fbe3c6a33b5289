"""Links between pages, and from docstrings to pages, lead somewhere; every error has a section."""

import inspect
import os
import re
from importlib import import_module
from pathlib import Path

import pytest

import tomato_dao
from tomato_dao import Database, errors
from tomato_dao.errors import TomatoError
from tomato_dao.server import commits

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted((CHECKOUT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
CODE = [path for folder in ("tomato_dao", "checks", "db") for path in sorted((CHECKOUT / folder).rglob("*.*"))]
API = CHECKOUT / "docs" / "reference" / "api.md"
_AUTODOC = re.compile(r"^\.\. auto\w+:: (\S+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)")
_REFERENCE = re.compile(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts and Sphinx make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"[`*]", "", heading)).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: os.fspath(page.relative_to(CHECKOUT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, anchor in _LINK.findall(page.read_text("utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), f"{path} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{path or page.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: os.fspath(page.relative_to(CHECKOUT)))
def test_rows_of_a_table_have_as_many_cells_as_its_head(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, rule, *rows = [re.findall(r"(?<!\\)\|", line) for line in table.splitlines()]
        assert {len(head)} == {len(line) for line in (rule, *rows)}, table.splitlines()[0]
        assert all(line.endswith("|") for line in table.splitlines()), table.splitlines()[0]


def test_every_page_is_in_a_table_of_contents() -> None:
    docs = CHECKOUT / "docs"
    found = {"index"}
    for page in docs.rglob("*.md"):
        for entries in re.findall(r"^```{toctree}\n(.*?)```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            names = [line for line in entries.splitlines() if line and not line.startswith(":")]
            found |= {os.fspath((page.parent / name).relative_to(docs)) for name in names}
    assert found == {os.fspath(page.relative_to(docs).with_suffix("")) for page in PAGES if docs in page.parents}


def test_references_to_pages_in_code_lead_somewhere() -> None:
    for path in CODE:
        if path.suffix not in (".py", ".pyi", ".sql"):
            continue
        for page, anchor in _REFERENCE.findall(path.read_text("utf-8")):
            assert (CHECKOUT / page).exists(), f"{path.relative_to(CHECKOUT)}: {page} does not exist"
            assert not anchor or anchor in anchors(CHECKOUT / page), f"{path.relative_to(CHECKOUT)}: {page} has no #{anchor}"


def test_the_table_of_calls_names_every_method_of_every_dao(db: Database) -> None:
    """Calls that nearly all DAOs have are told above the table."""
    text = (CHECKOUT / "docs" / "guides" / "connecting.md").read_text("utf-8")
    named: dict[str, set[str]] = {}
    for attributes, purpose, calls in re.findall(r"^\| (`db\.[^|]*)\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE):
        for dao in re.findall(r"`db\.(\w+)`", attributes):
            named.setdefault(dao, {"create", "get", "update", "set_attrs", "delete", "iterate"}).update(
                re.findall(r"\w+", purpose + calls)
            )
    daos = {name: dao for name, dao in vars(db).items() if not name.startswith("_")}
    assert named.keys() == daos.keys()
    for name, dao in daos.items():
        assert {call for call in dir(dao) if not call.startswith("_")} <= named[name], name


def test_the_reference_lists_every_public_name_and_dao(db: Database) -> None:
    listed = set(_AUTODOC.findall(API.read_text("utf-8")))
    daos = {type(dao) for name, dao in vars(db).items() if not name.startswith("_")}
    names = {f"tomato_dao.{name}" for name in tomato_dao.__all__} | {f"{dao.__module__}.{dao.__name__}" for dao in daos}
    assert names - listed == set()


def test_a_list_of_parameters_names_each_parameter() -> None:
    for name in _AUTODOC.findall(API.read_text("utf-8")):
        module, _, attribute = name.rpartition(".")
        found = getattr(import_module(module), attribute)
        functions = [found] if inspect.isfunction(found) else [f for _, f in inspect.getmembers(found, inspect.isfunction)]
        for function in functions:
            section = re.search(r"^Args:\n((?:    .*\n|\n)+)", f"{inspect.getdoc(function)}\n", re.MULTILINE)
            if section is None or function.__name__.startswith("_"):
                continue
            listed = [n for names in re.findall(r"^ {4}(\w[\w, ]*):", section[1], re.MULTILINE) for n in names.split(", ")]
            parameters = [n for n in inspect.signature(function).parameters if n != "self"]
            assert sorted(listed) == sorted(parameters), f"{name}: {function.__name__}"


def test_every_error_has_a_section_and_a_place_in_the_tree() -> None:
    text = (CHECKOUT / "docs" / "errors.md").read_text("utf-8")
    classes = {
        c.__name__
        for name in dir(tomato_dao)
        if isinstance(c := getattr(tomato_dao, name), type) and issubclass(c, TomatoError)
    }
    for name in classes - {"TomatoError"}:
        assert f"── {name} " in text
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert re.search(rf"^ *{name}: .+$", section, re.MULTILINE), f"{name} has no section with a message"
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == classes - {"TomatoError"}


def test_the_tree_of_errors_is_that_of_the_module() -> None:
    text = (CHECKOUT / "docs" / "errors.md").read_text("utf-8")
    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    assert tree.count("── ") == 16
    assert f"```\n{tree}\n```" in text


def test_the_message_of_an_unknown_outcome_is_the_pages() -> None:
    """Only a lost session can raise it, so that the page's example is not run."""
    text = " ".join((CHECKOUT / "docs" / "errors.md").read_text("utf-8").split())
    assert f"OutcomeUnknown: {commits.unknown('it is still in progress', 748)}" in text
