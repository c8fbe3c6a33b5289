"""The scanner takes JSON, and nothing else, as an independent parser does."""

import json
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers.transfer_cases import as_json, jsons
from tomato_dao.transfer import scan

pytestmark = pytest.mark.slow
PIECES = st.sampled_from(["", *'[]{},:"\\-+.0129eEtu \t\n', "null", '"a":', "\\u0041", "\x1f"])


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)


def top(text: str) -> list[tuple[str, object]] | None:
    """Return the keys and values of an object, or an array's values with empty keys; none for a scalar; None for other text."""
    try:
        found = json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str, object_pairs_hook=tuple)
        json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair
    except ValueError:
        return None
    if any("\0" in string for string in strings(found)):
        return None
    if isinstance(found, list):
        return [("", value) for value in found]
    return list(found) if isinstance(found, tuple) else []


@given(jsons.map(as_json), st.integers(0, 60), st.integers(0, 2), PIECES)
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example("]", 0, 0, "")
@example("[1]", 2, 1, "}")
@example('{"a":1}', 6, 1, "]")
@example("[[1]]", 4, 1, "")
@example("[1]", 3, 0, "]")
@example("[1]", 2, 0, ",")
@example('{"a":1}', 6, 0, ",")
@example('{"a":1}', 4, 1, ",")
@example('{"a":1}', 1, 3, "1")
@example('"a"', 0, 0, "\x1f")
@example('["a"]', 2, 1, "\\u0000")
@example('["a"]', 2, 1, "\\ud800")
def test_a_text_is_split_as_json_or_refused(text: str, at: int, removed: int, added: str) -> None:
    changed = text[:at] + added + text[at + removed :]
    expected = top(changed)
    body = changed.encode()
    try:
        found = scan.parts(body)
    except ValueError:
        assert expected is None, changed
        return
    assert [(scan.text_of(key) if key else "", top(f"[{body[slice(*span)].decode()}]")) for key, span in found] == [
        (key, [("", value)]) for key, value in expected or []
    ], changed
    assert expected is not None, changed
