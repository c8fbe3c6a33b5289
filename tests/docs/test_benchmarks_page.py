"""docs/benchmarks.md has a section for each benchmark, which its command alone replaces."""

import ast
import re

import pytest

from benchmarks.page import PAGE, command_of, replaced
from tests.conftest import CHECKOUT

TARGETS = re.findall(
    r"^(bench[a-z-]*):(?:.*\n)\t@\$\(PY\) -m benchmarks\.page (\w+)$", (CHECKOUT / "Makefile").read_text(), re.M
)


def test_every_target_writes_its_own_section() -> None:
    assert len(TARGETS) >= 10
    for target, module in TARGETS:
        source = (CHECKOUT / "benchmarks" / f"{module}.py").read_text("utf-8")  # importing it needs the peers
        assert f"make {target}" == command_of(ast.get_docstring(ast.parse(source)) or "")
        assert replaced(PAGE.read_text("utf-8"), f"make {target}", "new figures")


def test_a_section_is_replaced_and_all_else_stays() -> None:
    page = "before\n<!-- make bench-x -->\nold\n<!-- end of make bench-x -->\nbehind\n"
    new = replaced(page, "make bench-x", "new")
    assert new == "before\n<!-- make bench-x -->\n\nnew\n\n<!-- end of make bench-x -->\nbehind\n"
    assert replaced(new, "make bench-x", "new") == new


@pytest.mark.parametrize("page", ["", "<!-- make bench-x -->\n", "<!-- make bench-x -->\n<!-- end of make bench-x -->\n" * 2])
def test_a_page_without_the_section_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="no section"):
        replaced(page, "make bench-x", "new")
