"""The contract of queries with optional parameters and orders: it holds for every variant, and orders tell rows apart."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from checks import contract, faces, plans
from checks.described import Described, describe
from tests.helpers.corpus_cases import CLASSES, corpus_connection
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load

pytestmark = pytest.mark.slow

HEAD = "-- optional: kind, after_name, after_id"
CASES = {
    "q1(kind)\n-- record_class: Thing\n-- optional: kind": (
        "select t.id, t.name from things t where true\n  and t.kind = :kind -- if: kind",
        None,
    ),
    "q2(kind)\n-- optional: kind": (
        "select t.id from things t where true\n  and t.kid = :kind -- if: kind",
        ":4: things.q2[kind]: column t.kid does not exist",
    ),
    "q3(kind)\n-- optional: kind": (
        "select t.id from things t\nwhere -- if: kind\n  t.kind = :kind -- if: kind\n  and true",
        ':6: things.q3: syntax error at or near "and"',
    ),
    "q4(kind)\n-- optional: kind\n-- order: x = t.id\n-- order: y = t.age": (
        "select t.id from things t\nwhere t.kind = :kind -- if: kind\norder by t.id -- order",
        ":4: things.q4[y]: column t.age does not exist",
    ),
    "q5(kind)\n-- optional: kind": (
        "select\n  t.id, -- if: kind\n  t.kind as it\nfrom things t\nwhere t.kind = :kind -- if: kind",
        ":1: things.q5: things.q5 returns it text, but things.q5[kind] id int8, it text",
    ),
    "q6(kind)\n-- optional: kind": (
        "select t.kind as it from things t where true\n  and t.name = :kind -- if: kind\nunion select 'x'",
        None,
    ),
    "q7(kind)^\n-- optional: kind": (
        "select t.id from things t where true\n  and t.kind || t.name = 'x' and t.id = length(:kind) -- if: kind",
        ":1: things.q7: “^” is for at most one row; no unique key ensures that",
    ),
    "q8(kind)\n-- record_class: Named\n-- optional: kind": (
        "select t.id, t.name from things t where true\n  and t.name = :kind -- if: kind",
        "Named.name: str; the server says that name can be null",
    ),
    "q9(kind)\n-- optional: kind": (
        "select t.id from things t where true\n  and t.id = :kind -- if: kind\nlimit 1",
        None,
    ),
    "q10(a, b)\n-- optional: a, b": (
        "select t.id from things t where true\n  and t.size = :a and t.id = :b -- if: a, b\n  and t.id = :a -- if: a",
        ":1: things.q10: a is int8 or int4, as things.q10[a,b] has it",
    ),
    "q11(kind)\n-- optional: kind": (
        "select t.id from things t where true\n  and t.kind = (select skip_it(:kind)) -- if: kind",
        ":4: things.q11[kind]: function skip_it(unknown) does not exist",
    ),
    "q12(kind)\n-- optional: kind": (
        "select t.id from things t where true\n  and nextval('numbers') > 5 and t.kind = :kind -- if: kind",
        "its text only reads; the server says that it calls nextval",
    ),
}
ORDERS = {
    "newest = t.size desc, t.id desc": None,
    "kind = t.kind, t.size": "order kind: rows may share a place in it",
    "name = t.name, t.kind": "order name: t.name can be null, so that no page after the first would have the row",
    "id = t.id": None,
}


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    """Provide a connection to a database with the corpus's tables."""
    with corpus_connection() as connection:
        yield connection


def of_order(n: int, order: str) -> str:
    """Return a query that is continued in an order of two columns, or of one."""
    columns = [term.split()[0] for term in order.partition("=")[2].split(",")]
    parameters = [f"p{n}" for n in range(len(columns))]
    row, values = f"({', '.join(columns)})", f"({', '.join(f':{p}' for p in parameters)})"
    if len(columns) == 1:
        row, values = row[1:-1], values[1:-1]
    return (
        f"-- name: o{n}({', '.join(parameters)}, limit)\n-- optional: {', '.join(parameters)}\n-- order: {order}\n"
        f"select t.id from things t where true\n"
        f"  and {row} {'<' if 'desc' in order else '>'} {values} -- after: {order.split()[0]}\n"
        f"order by{order.partition('=')[2]} -- order\nlimit :limit;\n"
    )


def loaded(tmp_path: Path, text: str) -> list[Query]:
    """Return the queries of a text."""
    (tmp_path / "things.sql").write_text(text, "utf-8")
    return list(load(tmp_path, CLASSES).values())


def test_each_variant_is_held_against_the_server(connection: psycopg.Connection, tmp_path: Path) -> None:
    texts = [f"-- name: {head}\n{sql};\n" for head, (sql, _) in CASES.items()]
    texts += [of_order(n, order) for n, order in enumerate(ORDERS)]
    wanted = [*(said for _, said in CASES.values()), *ORDERS.values()]
    first = 1
    for q, text, said in zip(describe(connection, loaded(tmp_path, "".join(texts))), texts, wanted, strict=True):
        line = getattr(q, "line", q.query.line) - first + 1
        found = [f":{line}: {q.query.name}: {message}" for message in contract.check(q)]
        assert len(found) == (said is not None), (text, found)
        assert said is None or said in found[0]
        first += text.count("\n")


def test_optional_parameters_are_keywords_of_a_face(connection: psycopg.Connection, tmp_path: Path) -> None:
    text = (
        "-- name: q(kind, name, codes, limit)\n-- record_class: Thing\n-- optional: kind, name, codes\n-- nullable: name\n"
        "-- order: id = t.id\n-- order: kind = t.kind, t.id\n"
        "select t.id, t.name from things t where true\n  and t.kind = :kind -- if: kind\n"
        "  and t.name is not distinct from :name -- if: name\n  and t.codes = :codes -- if: codes\norder by t.id -- order\n"
        "limit :limit;\n"
    )
    described = [q for q in describe(connection, loaded(tmp_path, text)) if isinstance(q, Described)]
    assert [len(list(q.query.variants())) for q in described] == [16]
    assert faces.faces(described).split("\n")[-2].strip() == (
        "def q(self, limit: int, /, *, kind: str | None = None, name: str | type[Null] | None = None,"
        ' codes: Sequence[str] | None = None, order: Literal["id", "kind"] = "id") -> builtins.list[rows.Thing]: ...'
    )


def test_the_plan_of_each_variant_is_looked_at(connection: psycopg.Connection, tmp_path: Path) -> None:
    select = "select t.id from things t where true\n  and t.id = :id -- if: id\n  and t.size = :size -- if: size"
    text = f"-- name: q(id, size)\n-- optional: id, size\n{select};\n"
    (query,) = loaded(tmp_path, text)
    shown = plans.text(connection, query).split("\n\n")
    assert [plan.split("\n")[0] for plan in shown] == ["things.q", "things.q[id]", "things.q[size]", "things.q[id,size]"]
    assert "things_pkey" not in shown[2]
    assert "things_pkey" in shown[3]
    with connection.transaction(force_rollback=True):
        connection.execute("insert into things (id, kind, size) select n, 'k', n from generate_series(1, 20000) n")
        connection.execute("analyze things")
        found = [line.split(": ", 1)[1] for line in plans.findings(connection, [query], 1000)]
        assert found == ["things.q: its plan scans all of things", "things.q[size]: its plan scans all of things"]
        (claimed,) = loaded(tmp_path, text.replace("-- optional", "-- plan: it is small\n-- optional"))
        assert list(plans.findings(connection, [claimed], plans.FULL_SIZE)) == []
        (needless,) = loaded(tmp_path, f"-- name: q(id)\n-- plan: x\n{select.split(' where')[0]} where t.id = :id;\n")
        assert "remove the comment “plan”" in next(plans.findings(connection, [needless], plans.FULL_SIZE))
