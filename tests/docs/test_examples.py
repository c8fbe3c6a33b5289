"""Every Python and shell example of README.md and docs/ runs, and prints what the page says it prints."""

import contextlib
import io
import os
import re
import subprocess
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

CHECKOUT = Path(__file__).parents[2]
# Pages whose examples have a test of their own, beside the data that they need.
ELSEWHERE = {"docs/guides/asyncio.md", "docs/guides/hosts.md", "docs/moving-from-django.md", "docs/query-files.md"}
PAGES = sorted(
    os.fspath(path.relative_to(CHECKOUT))
    for path in [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]
    if "_build" not in path.parts and "```" in path.read_text("utf-8")
)
_NOT_RUN = re.compile(r"<!-- not run: .+? -->\n```(\w+)\n")


class _Page:
    """The printed text of the Python block before, which a block of text right after it has to equal."""

    def __init__(self) -> None:
        self.printed: str | None = None

    def python(self, example: Example) -> None:
        assert self.printed in (None, ""), f"the page does not show what the example before line {example.line} prints"
        output = io.StringIO()
        code = compile("\n" * (example.line + example.parsed.line_offset) + example.parsed, str(example.path), "exec")
        with contextlib.redirect_stdout(output):
            exec(code, example.namespace)  # noqa: S102 (the page's own example)
        self.printed = output.getvalue()

    def text(self, example: Example) -> None:
        if self.printed is None:
            return  # an output or a picture that stands alone
        assert _fits(example.parsed, self.printed), f"printed:\n{self.printed}\nthe page says:\n{example.parsed}"
        self.printed = None

    def console(self, example: Example) -> None:
        """Run the lines after $, and compare what each prints; … stands for any text."""
        for command in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
            line, _, expected = command.partition("\n")
            done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, cwd=CHECKOUT, timeout=300)
            assert _fits(expected, done.stdout + done.stderr), f"$ {line}\n{done.stdout}{done.stderr}"


def _fits(expected: str, printed: str) -> bool:
    pattern = re.escape(expected.strip()).replace("…", ".*?")
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_examples_run_and_print_what_the_page_says(page: str, tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page has a migrated, empty database of its own, and its blocks run in order in one namespace."""
    monkeypatch.setenv("DATABASE_URL", tomato_url)
    run_examples(page)


def run_examples(page: str) -> None:
    """Run a page's blocks in order in one namespace, and compare what they print."""
    state = _Page()
    parsers = [
        CodeBlockParser("python", state.python),
        CodeBlockParser("text", state.text),
        CodeBlockParser("console", state.console),
    ]
    document = Sybil(parsers, path=os.fspath(CHECKOUT)).parse(CHECKOUT / page)
    for example in document.examples():
        example.evaluate()
    assert state.printed in (None, ""), "the page does not show what its last example prints"


@pytest.mark.parametrize("page", PAGES)
def test_examples_that_do_not_run_say_why(page: str) -> None:
    text = (CHECKOUT / page).read_text("utf-8")
    blocks = re.findall(r"^```(sh|bash|shell|py)$", text, re.MULTILINE)
    assert len(blocks) == len([name for name in _NOT_RUN.findall(text) if name in ("sh", "bash", "shell", "py")])
