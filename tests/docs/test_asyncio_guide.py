"""The examples of docs/guides/asyncio.md run, and type checkers find nothing in them; FastAPI is a contributor's tool."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.docs.test_examples import run_examples

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytestmark = pytest.mark.slow
PAGE = "docs/guides/asyncio.md"


def test_examples_run_and_print_what_the_page_says(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", tomato_url)
    run_examples(PAGE)


@pytest.mark.long
@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["basedpyright", "--level", "error"]], ids=["mypy", "pyright"])
def test_type_checkers_find_nothing(tmp_path: Path, checker: list[str]) -> None:
    program = tmp_path / "program.py"
    blocks = re.findall(r"^```python\n(.*?)^```$", (CHECKOUT / PAGE).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    program.write_text("\n".join([*blocks, "broken: str = app.title + 1"]), "utf-8")
    command = [sys.executable, "-m", *checker, str(program)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout + done.stderr  # that of the last line: it knows the types
    assert "+" in errors[0]
