"""Each benchmark explains its options, and refuses what they do not take before it starts."""

import argparse
import re
import subprocess
import sys

import pytest

from benchmarks.page import positive
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.slow
# Those that need no peers.
MODULES = re.findall(
    r"^bench[a-z-]*: (?:setup|\.venv/dev) ##.*\n\t@\$\(PY\) -m benchmarks\.page (\w+)$",
    (CHECKOUT / "Makefile").read_text(),
    re.M,
)
OPTIONS = {"__main__": "--rounds", "legacy": "--copies", "year": "--days", "claims": "--seconds"}


def run(module: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", MODULES)
def test_help_says_what_is_measured_and_lists_the_options(module: str) -> None:
    done = run(module, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "make bench" in done.stdout
    assert OPTIONS.get(module, "--rounds") in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_an_option_that_is_no_number_of_1_or_more_is_misuse(module: str) -> None:
    option = OPTIONS.get(module, "--rounds")
    done = run(module, f"{option}=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith(f"error: argument {option}: '0' is not a number of 1 or more")


def test_a_year_of_a_month_or_less_is_misuse() -> None:
    done = run("year", "--days=30")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: argument --days: 30 is not above 30: the figures begin after a month\n")


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "1e3"])
def test_only_whole_numbers_above_0_are_taken(text: str) -> None:
    assert [positive("1"), positive("400")] == [1, 400]
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of 1 or more"):
        positive(text)


def test_most_benchmarks_are_tried_here() -> None:
    assert len(MODULES) >= 7
