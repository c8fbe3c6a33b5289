"""The guide for who ports the old backend: its calls exist, and it says of each request how many calls serve it."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, SHARED
from tomato_dao import Database

GUIDE = CHECKOUT / "docs" / "guides" / "porting.md"
ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)
CALL = re.compile(r"`([a-z_]+)\.([a-z_]+)`")
HEADING = "the old backend's request"


def rows() -> list[tuple[str, str]]:
    """Return the requests and the calls that serve them."""
    return [(wanted, calls) for wanted, calls in ROW.findall(GUIDE.read_text("utf-8")) if wanted != HEADING]


def test_each_call_that_the_guide_names_exists(db: Database) -> None:
    named = {call for _, calls in rows() for call in CALL.findall(calls)}
    assert len(named) > 100
    missing = [f"{dao}.{call}" for dao, call in named if not callable(getattr(getattr(db, dao, None), call, None))]
    assert missing == []


def test_each_request_has_a_call_or_a_reason(db: Database) -> None:
    assert [wanted for wanted, calls in rows() if not calls.strip()] == []
    reasons = [wanted for wanted, calls in rows() if not CALL.search(calls) and "`" not in calls]
    assert reasons == ["query in another database"]
    for method in ("exclusive", "transaction", "close"):
        assert callable(getattr(db, method))


def test_no_request_of_the_old_backend_is_left_out() -> None:
    file: Path = SHARED / "legacy" / "requests.tsv"
    if not file.exists():
        pytest.skip(f"{file} is not there: the requests of the old backend")
    with file.open(encoding="utf-8", newline="") as lines:
        wanted = Counter(line["what it wants"] for line in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert wanted.total() == 187
    assert Counter(request for request, _ in rows()) == wanted


def test_nearly_every_request_is_served_by_one_call_and_none_by_a_loop() -> None:
    """Calls that are needed together have a + between them."""
    together = [calls for _, calls in rows() if " + " in calls]
    assert (len(rows()), len(together)) == (187, 10)
    assert [calls for calls in together if "iterate" in calls] == []
