"""The lexer of query files finds the parameters that PostgreSQL's own scanner would see in the same text."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pglast.parser import ParseError, scan

from tests.conftest import SHARED
from tomato_dao.database import QUERIES
from tomato_dao.errors import QueryFileError
from tomato_dao.sql.lexer import Kind, Unterminated, tokens
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load

CASES = SHARED / "cases"
VALUES = {"SCONST", "USCONST", "BCONST", "XCONST", "FCONST", "ICONST", "PARAM", "UIDENT", "IDENT"}


def by_postgresql(sql: str) -> list[tuple[int, str]] | None:
    """Places and names of the parameters that PostgreSQL's scanner finds, by the rule for slices; None where it refuses."""
    try:
        found = scan(sql)
    except ParseError:
        return None
    parameters = []
    depth = 0
    for before, token, after in zip([None, *found], found, [*found[1:], None], strict=False):
        if token.name == "ASCII_91":
            depth += 1
        elif token.name == "ASCII_93":
            depth = max(depth - 1, 0)
        elif token.name == "ASCII_58" and after is not None and after.start == token.end + 1:
            word = sql[after.start : after.end + 1]
            is_word = (after.name == "IDENT" and word[0] != '"') or after.kind != "NO_KEYWORD"
            ends_value = (
                before is not None
                and before.end + 1 == token.start
                and (before.name in VALUES or before.kind != "NO_KEYWORD" or before.name in ("ASCII_41", "ASCII_93"))
            )
            if is_word and not (depth and ends_value):
                parameters.append((token.start, word))
    return parameters


def by_lexer(sql: str) -> list[tuple[int, str]] | None:
    """Places and names of the parameters that the lexer finds; None where it refuses."""
    at, parameters = 0, []
    try:
        for kind, token in tokens(sql):
            if kind is Kind.PARAMETER:
                parameters.append((at, token[1:]))
            at += len(token)
    except Unterminated:
        return None
    assert at == len(sql)
    return parameters


INSIDE = st.text(":ax\"'$/*-\\;%\n eE[]1ä", max_size=8)
WORD = st.sampled_from(["a", "x1", "_", "n$a$", "e", "E", "b", "u", "U&", "n", "ä", "select", "Zürich$x$", "x$", "“"])
PIECE = st.one_of(
    WORD,
    WORD.map(":{}".format),
    WORD.map("::{}".format),
    WORD.map(":::{}".format),
    st.tuples(st.sampled_from(["", "e", "E", "u&", "U&", "b", "X", "n", "xe", "1", "$1", ":", ":e", ":x"]), INSIDE).map(
        lambda t: f"{t[0]}'" + t[1].replace("'", "''") + "'"
    ),
    INSIDE.map(lambda text: "e'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    st.tuples(
        st.sampled_from(["", "e", "E", "u&"]),
        st.sampled_from(["\n", " \n ", " -- it's\n", "\n-- :x '\n--\n", " ", "/* */\n", "\t\n\f", "\n\v"]),
        st.sampled_from([":x", "\\':x", "a", "\\\\", "''"]),
    ).map(lambda t: f"{t[0]}'a'{t[1]}'{t[2]}'"),
    st.tuples(st.sampled_from(["", "u&"]), INSIDE).map(lambda t: f'{t[0]}"' + t[1].replace('"', '""') + '"'),
    st.tuples(st.sampled_from(["", "a", "a1", "_", "ä"]), INSIDE).map(lambda t: f"${t[0]}${t[1]}${t[0]}$"),
    INSIDE.map(lambda text: "--" + text.replace("\n", "") + "\n"),
    INSIDE.map(lambda text: f"/*{text}*/"),
    INSIDE.map(lambda text: f"/*/*{text}*/:x*/"),
    st.sampled_from(["[", "]", "(", ")", ",", "[:x", "[1:x]", "[a:b]", "[:x : :y]", "[f(:x):b]", "[:x::y]", "[1 :x]", "[x:]"]),
    st.sampled_from([":=", ":", "::", ".", "..", "-", "+-", "-:x", "*/", "/", "@-", ">=", "=>", "||", "%", "?", "$", "\\"]),
    st.sampled_from(["1", "1.5", "1.", ".5", "1e5", "1.5e-3", "0x1F", "0o17", "0b01", "1_000", "$1", "$12", "1..2"]),
    INSIDE,
)
STATEMENT = st.tuples(st.lists(st.tuples(PIECE, st.sampled_from(["", "", " ", "\n"])), max_size=10)).map(
    lambda t: "".join(piece + gap for piece, gap in t[0])
)


def assert_same(sql: str) -> None:
    theirs = by_postgresql(sql)
    if theirs is not None:
        assert by_lexer(sql) == theirs


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(STATEMENT)
def test_the_lexer_finds_the_parameters_that_postgresql_does(sql: str) -> None:
    assert_same(sql)


@pytest.mark.parametrize("sql", ["[.:a", "[a.:b]", "[1.:a]", "[x1.:a]", "[1..:a]", "[ 1_0.:a]"])
def test_a_point_ends_a_value_only_in_a_number(sql: str) -> None:
    assert_same(sql)


@pytest.mark.parametrize("sql", ["[$:a", "[ $:a]", "[a$:b]", "[n$a$:b]", "[ä$:b]", "[1 + $:a]", "[$1:a]"])
def test_a_dollar_sign_ends_a_value_only_in_a_word(sql: str) -> None:
    assert_same(sql)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None)
@given(STATEMENT)
def test_the_lexer_finds_the_parameters_that_postgresql_does_in_10000_statements(sql: str) -> None:
    assert_same(sql)


def test_the_lexer_finds_no_parameter_in_a_query_whose_parameters_are_numbered() -> None:
    assert [q.name for q in QUERIES.values() if by_postgresql(q.sql) or by_lexer(q.sql)] == []


def read(directory: Path, text: str) -> Query:
    (directory / "things.sql").write_text(text, "utf-8")
    return next(iter(load(directory).values()))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("e'a'\n  'b\\':x' || :x", "e'a'\n  'b\\':x' || $1"),
        ("e'a' -- it's\n'\\':x' || :x", "e'a' -- it's\n'\\':x' || $1"),
        ("'a'\n'\\' || :x", "'a'\n'\\' || $1"),
        ("/* /* /* */ */ don't */ ':x' || :x", "/* /* /* */ */ don't */ ':x' || $1"),
        ("t.n$a$ || :x || t.m$a$", "t.n$a$ || $1 || t.m$a$"),
        ("u&'\\0061 :x' || :x", "u&'\\0061 :x' || $1"),
        ("type'\\' || :x", "type'\\' || $1"),
        ("array[1:x, :x]", "array[1:x, $1]"),
        ("v[f(1):n] = :x", "v[f(1):n] = $1"),
        ("v[:x:n]", "v[$1:n]"),
        ("v[:x : :x]", "v[$1 : $1]"),
        ("v[case when true then :x end]", "v[case when true then $1 end]"),
        ("v[1] + :x", "v[1] + $1"),
        ("limit:x", "limit$1"),
        (":::x", "::$1"),
    ],
)
def test_rarer_forms_are_read_as_postgresql_reads_them(tmp_path: Path, given: str, sent: str) -> None:
    assert read(tmp_path, f"-- name: a(x)\nselect {given};\n").sql == f"select /* things.a */ {sent}"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("-- name: a(lo, hi)\nselect v[:lo::hi];\n", 1, "does not use: hi (in [1:n] and [:low::n], n is no parameter"),
        ("-- name: a(n)\nselect v[1:n];\n", 1, "does not use: n (in [1:n]"),
        ("-- name: a()\nselect v[1 :n];\n", 1, "does not declare: n (in [1:n]"),
        ("-- name: a()\nselect 1,\n  'it;\n", 3, "things.a: what begins with ' has no end"),
        ("-- name: a()\n\nselect 1\n/* /* */;\n", 4, "things.a: the comment that begins with /* has no end"),
        ("-- name: a()\nselect $b$ $c$;\n", 2, "things.a: what begins with $b$ has no end"),
        ("-- name: a(x)\nselect $1, :x;\n", 2, "things.a: $1 is a parameter without a name"),
    ],
)
def test_ambiguous_sql_is_refused(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(QueryFileError, match=re.escape(said)) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'things.sql'}:{line}: ")


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")], ids=["bom", "crlf"])
def test_a_file_of_another_editor_is_read_alike(tmp_path: Path, change: Callable[[str], str]) -> None:
    text = "-- name: a(x)$\n-- Words.\nselect 'b'\n  'c', :x;\n"
    plain = read(tmp_path, text)
    other = tmp_path / "other"
    other.mkdir()
    (other / "things.sql").write_bytes(change(text).encode())
    (query,) = load(other).values()
    assert (query.name, query.sql, query.doc) == (plain.name, plain.sql, plain.doc)


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("e_string", ["x"], "ab':xx"),
        ("nested_comment", ["x"], ":xx"),
        ("dollar_identifier", ["x"], "1x2"),
        ("slices", [], [1, 2]),
        ("bom", [], 1),
    ],
)
def test_queries_that_once_failed_run(
    tmp_path: Path, server: psycopg.Connection, name: str, values: list[str], result: object
) -> None:
    if not (file := CASES / f"{name}.sql").exists():
        pytest.skip("the collected query files are not at ../shared/data/cases")
    (tmp_path / "things.sql").write_bytes(file.read_bytes())
    (query,) = load(tmp_path).values()
    assert psycopg.RawCursor(server).execute(query.sql, values).fetchone() == (result,)
