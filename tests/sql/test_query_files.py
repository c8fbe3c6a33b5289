"""The named-query files: what the loader refuses, what it takes for a parameter, and the labels that reach the server."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from inspect import Parameter
from pathlib import Path

import aiosql
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHECKOUT, World
from tests.helpers.dao_cases import until
from tomato_dao import Database, TomatoError, connect, rows
from tomato_dao.database import QUERIES
from tomato_dao.errors import QueryFileError
from tomato_dao.sql.binding import bound
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import QueryFiles, load, strays

Load = Callable[[str], dict[str, Query]]
FILES = sorted((CHECKOUT / "db" / "queries").glob("*.sql"))


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Loads a directory that holds one file, things.sql, of that text."""

    def read_text(text: str) -> dict[str, Query]:
        (tmp_path / "things.sql").write_text(text, "utf-8")
        return load(tmp_path, rows.CLASSES)

    return read_text


@pytest.fixture
def one(read: Load) -> Callable[[str], Query]:
    """Loads a file of one query and returns it."""

    def read_one(text: str) -> Query:
        (query,) = read(text).values()
        return query

    return read_one


def test_a_file_is_parsed_when_it_is_asked_for_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "good.sql").write_text("-- name: get()\nselect 1;\n", "utf-8")
    (tmp_path / "wrong.sql").write_text("-- name: get()\nselect :x;\n", "utf-8")
    queries = QueryFiles(tmp_path)
    (tmp_path / "good.sql").write_text("-- name: get()\nselect 2;\n", "utf-8")
    assert "good.get" in queries
    assert "good.set" not in queries
    assert "none.get" not in queries
    assert queries["good.get"] is queries["good.get"]
    assert queries["good.get"].sql.endswith(" 1")
    with pytest.raises(QueryFileError, match=r"wrong\.sql:1: wrong\.get uses parameters"):
        len(queries)
    good = bound(queries, lambda query, values: [query.name, *values], "good")
    assert good.get() == ["good.get"]
    assert good.get is good.get
    with pytest.raises(AttributeError, match=r"good\.sql has no query set"):
        good.set()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("-- name: a()\nselect 1;\n\n-- name: a()^\nselect 2;\n", 4, "things.a is already defined in line 1"),
        ("-- name: a(x)\nselect :x;\n\n-- name: b(x)\nselect :x, :y;\n", 4, "does not declare: y"),
        ("-- name: a\nselect :x;\n", 1, "does not declare: x"),
        ("-- name: a(x, y)\nselect :x;\n", 1, "does not use: y"),
        ("-- name: a(x)\nselect ':x', \":x\", $$:x$$ /* :x */ -- :x\n", 1, "does not use: x"),
        ("-- name: a(x, y, x)\nselect :x, :y;\n", 1, "declares a parameter twice"),
        ("-- name: a()\n-- record_class: Nothing\nselect 1;\n", 2, "Nothing"),
        ("-- name: a()\n-- Words.\n-- record_class: fields\nselect 1;\n", 3, "fields"),
        ("-- name: a()\n", 1, "things.a is empty"),
        ("-- name: a()\n;\n", 1, "things.a is empty"),
        ("-- name: a()\n-- Nothing but words.\n\n-- name: b()\nselect 1;\n", 1, "things.a is empty"),
        ("-- name: a()\n-- Words.\n\n/* more\nwords */\n  -- and more\n;\n", 1, "things.a is empty"),
        ("-- The things.\nselect 1;\n\n-- name: a()\nselect 1;\n", 2, "SQL before the first"),
        ("-- name: a b\nselect 1;\n", 1, "not a definition"),
        ("-- name:\nselect 1;\n", 1, "not a definition"),
        ("-- name: a(x\nselect :x;\n", 1, "not a definition"),
        ("-- name: a(x.y)\nselect 1;\n", 1, "not a definition"),
        ("-- name: a()?\nselect 1;\n", 1, "not a definition"),
        ("-- name: 1a()\nselect 1;\n", 1, "not a definition"),
        ("-- name: a(x)\n-- nullable: x, y\nselect :x;\n", 1, "“nullable” of what it does not have: y"),
    ],
)
def test_a_faulty_file_is_refused_with_file_and_line(read: Load, tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(QueryFileError) as refused:
        read(text)
    assert str(refused.value).startswith(f"{tmp_path / 'things.sql'}:{line}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_utf8_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "things.sql").write_bytes("-- name: a()\nselect 'Zürich';\n".encode("latin-1"))
    with pytest.raises(QueryFileError, match=re.escape(str(tmp_path / "things.sql"))):
        load(tmp_path)


def test_the_same_name_may_stand_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "cats.sql").write_text("-- name: get()\nselect 1;\n")
    (tmp_path / "dogs.sql").write_text("-- name: get()\nselect 2;\n")
    assert [(q.name, q.file) for q in load(tmp_path).values()] == [("cats.get", "cats"), ("dogs.get", "dogs")]


def test_a_directory_without_files_has_no_queries(tmp_path: Path) -> None:
    assert load(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "\n", "-- Nothing here yet.\n\n"])
def test_a_file_without_queries_has_none(read: Load, text: str) -> None:
    assert read(text) == {}


def test_other_files_among_query_files_are_ignored_or_named(tmp_path: Path) -> None:
    (tmp_path / "things.sql").write_text("-- name: get()\nselect 1;\n")
    (tmp_path / "later.sql").write_text("-- Nothing here yet.\n")
    named = ["Things.sql", "scratch.sql", "things (1).sql", "things-old.sql"]
    for name in named:
        (tmp_path / name).write_text("select nonsense\n" if name == "scratch.sql" else "-- name: get()\nselect 2;\n")
    (tmp_path / "._things.sql").write_bytes(b"\x00\x05\x16\x07\xff")
    (tmp_path / ".#things.sql").symlink_to("somebody@nowhere.1")
    (tmp_path / "things.sql~").write_text("select 1;\n")
    assert list(load(tmp_path)) == ["things.get"]
    assert [path.name for path in strays(tmp_path)] == named


def test_a_query_is_all_that_its_head_says(one: Callable[[str], Query], tmp_path: Path) -> None:
    query = one(
        "-- About the file.\n\n-- name: find(id, kind)^\n-- record_class: Host\n-- nullable: kind, result\n"
        "-- The thing\n-- of that id.\nselect :kind::text, :id;\n\n"
    )
    assert (query.name, query.file, query.parameters, query.kind) == ("things.find", "things", ("id", "kind"), "^")
    assert query.record_class is rows.Host
    assert query.nullable == {"kind", "result"}
    assert query.doc.split() == ["The", "thing", "of", "that", "id."]
    assert (query.path, query.line) == (tmp_path / "things.sql", 3)
    assert query.sql == "select /* things.find */ $2::text, $1"


def test_annotations_for_the_checks_are_kept_apart(one: Callable[[str], Query]) -> None:
    query = one("-- name: a()^\n-- not null: x, y\n-- one row: of a kind\n-- plan: all of it\n-- Words.\n\nselect\n  1;\n")
    assert query.not_null == {"x", "y"}
    assert query.claims == {"not null": "x, y", "one row": "of a kind", "plan": "all of it"}
    assert query.doc == "Words."
    assert query.line_at(query.sql.index("1")) == 8


@pytest.mark.parametrize("kind", ["", "^", "$", "!", "<!"])
def test_every_suffix_of_a_name_is_known(one: Callable[[str], Query], kind: str) -> None:
    assert one(f"-- name: a(){kind}\nselect 1;\n").kind == kind
    assert one(f"-- name: a {kind}\nselect 1;\n").kind == kind


@pytest.mark.parametrize(
    "untouched",
    [
        "1::int",
        "'12:30'::time",
        "now()::timestamptz::date",
        "':x'",
        "'it''s :x'",
        "'''' || ':x'",
        r"'\' || ' :x'",
        "'two\nlines :x'",
        '":x"',
        '"a "":x"" b"',
        "$$ :x '$$",
        "$tag$ :x $$ :x $other$ :x $tag$",
        "$a$ -- $a$ || '/*' || ':x' || '*/'",
        "1 -- :x 'it\n",
        "1 --:x\n",
        "1 /* :x ' */",
        "1 /* :x\n:x */",
        "1 /* :x -- */ + 2",
        "a[1:2]",
        "f(a := 1)",
        "1 / 2 * 3 - 4",
    ],
)
def test_text_that_only_looks_like_a_parameter_is_left_alone(one: Callable[[str], Query], untouched: str) -> None:
    query = one(f"-- name: a(y)\nselect :y, {untouched}, :y;\n")
    assert query.sql == f"select /* things.a */ $1, {untouched}, $1"


@pytest.mark.parametrize("untouched", [r"E'it\'s :x'", r"e'\\\' :x'", "E'\\'\n:x'"])
def test_an_escape_string_holds_no_parameter(one: Callable[[str], Query], untouched: str) -> None:
    query = one(f"-- name: a(y)\nselect {untouched}, :y;\n")
    assert query.sql == f"select /* things.a */ {untouched}, $1"


@pytest.mark.parametrize("untouched", ["/* a /* b */ :x */", "/*/* :x */ ' */"])
def test_a_comment_within_a_comment_does_not_end_it(one: Callable[[str], Query], untouched: str) -> None:
    query = one(f"-- name: a(y)\nselect 1 {untouched}, :y;\n")
    assert query.sql == f"select /* things.a */ 1 {untouched}, $1"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (":x::int", "$1::int"),
        ("(:x)", "($1)"),
        ("'a'||:x||'b'", "'a'||$1||'b'"),
        ("-:x", "-$1"),
        ("array[:x,:y_2]", "array[$1,$2]"),
        ("a[:x]", "a[$1]"),
        ("f(a => :x, b := :y_2)", "f(a => $1, b := $2)"),
        (":y_2\n, :x", "$2\n, $1"),
        ("$$:x$$||:x", "$$:x$$||$1"),
        ("/**/:x--:y_2", "/**/$1--:y_2"),
    ],
)
def test_a_parameter_is_found_wherever_it_stands(one: Callable[[str], Query], given: str, sent: str) -> None:
    query = one(f"-- name: a(x, y_2)\nselect :x, :y_2, {given};\n")
    assert query.sql == f"select /* things.a */ $1, $2, {sent}"


INSIDE = st.text(":abc \"'$/*-\\;?%\n", max_size=12)
PARAMETER = st.sampled_from(["a", "b", "c_1", "_d"])
AROUND = st.sampled_from(["{}", "{}::int", "({})", "-{}", "':a'||{}", "array[{},1]", "x[{}]", "/*:b*/{}", "{}--:a\n"])
INERT = st.one_of(
    INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'"),
    INSIDE.map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.tuples(st.sampled_from(["", "x", "tag_1"]), INSIDE).map(lambda t: f"${t[0]}${t[1].replace('$', ':a')}${t[0]}$"),
    INSIDE.map(lambda text: f"$outer$ $${text.replace('$', '')}$$ $outer$"),
    INSIDE.map(lambda text: "--" + text.replace("\n", " ") + "\n"),
    INSIDE.map(lambda text: "/*" + text.replace("/", ":a").replace("*", ":b") + " */"),
    st.sampled_from(["1::int", "x::a", "a[1:2]", "f(b := 1)", "a.b", "<>", "/", "*", "-", "now()"]),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.one_of(st.tuples(AROUND, PARAMETER), INERT), max_size=8), gap=st.sampled_from([" ", "\n"]))
def test_exactly_the_parameters_are_numbered(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, str] | str], gap: str
) -> None:
    declared = sorted({piece[1] for piece in pieces if isinstance(piece, tuple)}, reverse=True)
    given = [p if isinstance(p, str) else p[0].replace("{}", f":{p[1]}") for p in pieces]
    sent = [p if isinstance(p, str) else p[0].replace("{}", f"${declared.index(p[1]) + 1}") for p in pieces]
    directory = tmp_path_factory.mktemp("queries")
    (directory / "q.sql").write_text(f"-- name: q({', '.join(declared)})\n{gap.join(['select', *given, 'x'])};\n", "utf-8")
    assert load(directory)["q.q"].sql == gap.join(["select", *sent, "x"]).replace("select", "select /* q.q */", 1)


@pytest.mark.parametrize(
    ("sql", "labelled"),
    [
        ("select 1", "select /* things.a */ 1"),
        ("with x as (select 1)\nselect 2 from x", "with /* things.a */ x as (select 1)\nselect 2 from x"),
        ("(select 1) union (select 2)", "(select /* things.a */ 1) union (select 2)"),
        ("table hosts", "table /* things.a */ hosts"),
        ("values (1)", "values /* things.a */ (1)"),
        ("/* on x */ select 1", "/* on x */ select /* things.a */ 1"),
        ("\n-- on x\nselect 1", "-- on x\nselect /* things.a */ 1"),
        ("  -- on x\nselect 1", "-- on x\nselect /* things.a */ 1"),
    ],
)
def test_the_label_stands_after_the_first_word(one: Callable[[str], Query], sql: str, labelled: str) -> None:
    assert one(f"-- name: a()\n{sql};\n").sql == labelled


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("select 1", "select"),
        ("select h.id from hosts h for update", "select"),
        ("select h.id from hosts h\nfor\nupdate of h skip locked", "select"),
        ("select h.id from hosts h for  update", "select"),
        ("select h.id from hosts h for no key update", "select"),
        ("select h.id from hosts h for no  key\n  update", "select"),
        ("select 'delete from hosts', \"update\" from x", "select"),
        ("select 1 -- update\n/* delete from */", "select"),
        ("select h.updated, h.update_at from hosts h", "select"),
        ("insert into hosts (name) values ('a')", "insert"),
        ("INSERT INTO hosts (name) values ('a')", "insert"),
        ("insert into hosts (name) values ('a') on conflict (name) do update set name = 'b'", "insert"),
        ("update hosts set name = 'a'", "update"),
        ("delete from hosts", "delete"),
        ("delete /* all */ from hosts", "delete"),
        ("with gone as (delete from hosts returning id) select id from gone", "delete"),
        ("with due as (select id from hosts for update) update hosts set name = 'a' from due", "update"),
        ("with due as (select id from hosts for no key update) delete from hosts using due", "delete"),
        ("with new as (insert into hosts (name) values ('a') returning id) select id from new", "insert"),
    ],
)
def test_the_verb_says_what_a_query_changes(one: Callable[[str], Query], sql: str, verb: str) -> None:
    assert one(f"-- name: a()\n{sql};\n").verb == verb


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_aiosql_reads_the_same_names_and_parameters(path: Path) -> None:
    theirs = aiosql.from_path(path, "psycopg", record_classes=vars(rows))
    read = {}
    for name in theirs.available_queries:
        if not name.endswith("_cursor"):
            parameters = getattr(theirs, name).__signature__.parameters.values()
            read[name] = {p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    ours = {q.name.partition(".")[2]: set(q.parameters) for q in QUERIES.values() if q.path.name == path.name}
    assert ours
    assert read == ours


def test_aiosql_reads_the_whole_directory() -> None:
    theirs = aiosql.from_path(CHECKOUT / "db" / "queries", "psycopg", record_classes=vars(rows))
    names = {name for name in theirs.available_queries if not name.endswith("_cursor")}
    assert names == {q.name.partition(".")[2] for q in QUERIES.values()}


@pytest.fixture
def labelled(tomato_url: str) -> Iterator[Database]:
    """Provide a Database of one connection, that the server shows as “labels”."""
    with connect(tomato_url, pool_size=1, application_name="labels") as db:
        yield db


def test_every_label_reaches_the_server(labelled: Database, server: psycopg.Connection) -> None:
    shown = {}
    queries = [variant for query in QUERIES.values() for variant in query.variants()]
    for query in queries:
        with suppress(TomatoError):  # few take nulls; the statement was prepared all the same
            labelled._run(query, [None] * len(query.parameters))
        row = server.execute(
            "select query from pg_stat_activity where datname = current_database() and application_name ~ '^labels'"
        ).fetchone()
        shown[query.name] = row and re.findall(r"^\w+ /\* (\S+) \*/\s", row[0])
    assert shown == {query.name: [query.name] for query in queries}


def test_a_query_at_work_shows_its_label(world: World, labelled: Database, server: psycopg.Connection) -> None:
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("select from hosts where name = 'host1' for update")
            update = threads.submit(labelled.hosts.update, "host1", {"address": "10.0.0.2"})
            until(
                server,
                "exists (select from pg_stat_activity where datname = current_database() and application_name ~ '^labels'"
                " and state = 'active' and wait_event_type = 'Lock' and query like %s)",
                "update /* hosts.update */ hosts h set (%",
            )
        assert update.result(60).address == "10.0.0.2"
