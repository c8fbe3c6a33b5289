"""Sphinx configuration: `make docs` builds the site into docs/_build."""

import re
from pathlib import Path
from typing import NewType, TypedDict, cast

from sphinx.application import Sphinx

import tomato_dao
from tomato_dao import patches, rows

project = "tomato-dao"
author = "the tomato-dao developers"
copyright = author
version = release = tomato_dao.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"  # of docstrings: Markdown knows no roles
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # nothing is fetched while building
suppress_warnings = ["misc.highlighting_failure"]  # $1 in SQL, … in Python
html_theme = "furo"
html_title = f"tomato-dao {version}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]

_PAGE = re.compile(r"`{0,2}\bdocs/([\w/-]+)\.md(#[\w-]+)?`{0,2}")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MAPPING = re.compile(r"~?(?:collections\.abc\.)?(?:Mapping|dict)\[str, ")


def _link_pages(*given: object) -> None:
    """Turn a docstring's references to pages into links; it stands in a page of docs/reference."""
    lines = cast("list[str]", given[-1])
    lines[:] = [_PAGE.sub(lambda m: f"`{_title(m[1], m[2])} <../{m[1]}.html{m[2] or ''}>`__", line) for line in lines]


def _title(page: str, anchor: str | None) -> str:
    """Return the heading that a reference to a page leads to."""
    headings: list[str] = _HEADING.findall(Path(__file__).parent.joinpath(f"{page}.md").read_text("utf-8"))
    found = [heading for heading in headings if f"#{heading.lower().replace(' ', '-')}" == anchor]
    return (found or headings)[0]


def _sign(*given: object) -> tuple[str | None, str | None]:
    """Shorten a signature: JSON objects by the name of their type, classes that callers do not create without parameters."""
    what, name, found = cast("tuple[str, str, object]", given[1:4])
    signature, returned = cast("tuple[str | None, str | None]", given[-2:])
    has_fields = hasattr(found, "__struct_fields__") or hasattr(found, "__dataclass_fields__") or hasattr(found, "_fields")
    if what in ("class", "exception") and not has_fields and not name.endswith(".StatsCollector"):
        return "", None
    return _short(signature), _short(returned)


def _short(text: str | None) -> str | None:
    found = _MAPPING.search(text or "")
    while text and found:
        end, depth = found.end(), 1
        while depth:
            depth += {"[": 1, "]": -1}.get(text[end], 0)
            end += 1
        if "JsonIn" in text[found.end() : end] or "Json]" in text[found.end() : end]:
            text = f"{text[: found.start()]}JsonObject{text[end:]}"
            end = found.start()
        found = _MAPPING.search(text, end)
    return text


def _name_json() -> None:
    """Let the fields of patches show the name of the type of JSON, instead of the union that it stands for."""
    name = NewType("JsonIn", object)
    for kind in vars(patches).values():
        if isinstance(kind, type(TypedDict("TypedDict", {}))):
            kind.__annotations__ |= {key: name for key, hint in kind.__annotations__.items() if hint is rows.JsonIn}


def setup(app: Sphinx) -> None:
    """Connect what changes docstrings and signatures on their way into the reference."""
    _name_json()
    app.connect("autodoc-process-docstring", _link_pages)
    app.connect("autodoc-process-signature", _sign)
