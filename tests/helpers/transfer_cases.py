"""Helpers that the tests of dump and load share: dumps by hand, small worlds, and databases that are compared."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st

import tomato_dao
from tests.conftest import CHECKOUT
from tomato_dao import Database
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.transfer import catalog
from tomato_dao.transfer.dump import header

Record = Mapping[str, Any] | str

TEXTS = ["", "null", "\\N", "\\.", "\u2028\u2029", '\\"', "\n\r\t\b\f\x01\x1f\x7f", "𝄞", "\ufeff", "{}", "\\u0041", "/"]
FLOATS = [0.1 + 0.2, 5e-324, -0.0, 1e22, 123456789012345680.0, inf, -inf, nan]
INSTANTS = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
NUMBERS = ["1.10", "1e3", "-0", "9007199254740993", "9" * 400, "0." + "0" * 300 + "1", "1e400", "18446744073709551616"]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(TEXTS)
floats = st.floats() | st.sampled_from(FLOATS)
instants = st.datetimes(timezones=st.just(UTC)) | st.sampled_from(INSTANTS)
numbers = st.sampled_from(NUMBERS)
jsons = st.recursive(
    st.none() | st.booleans() | numbers.map(lambda text: ("number", text)) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@contextmanager
def another_database(server_url: str, template: str) -> Iterator[Database]:
    """Provide a Database on one more migrated, empty database."""
    with scratch_database(server_url, template=template) as url, tomato_dao.connect(url) as db:
        yield db


def dumped(db: Database, *, jobs: int = 1) -> bytes:
    """Return a dump of the database."""
    file = io.BytesIO()
    tomato_dao.dump(db, file, jobs=jobs)
    return file.getvalue()


def records(text: bytes) -> list[dict[str, Any]]:
    """Return the records of a dump, without header and trailer, and without the settings, which are always there."""
    found: list[dict[str, Any]] = json.loads(text)
    return [record for record in found[1:-1] if record["model"] != "settings"]


def by_hand(db: Database, lines: Iterable[Record], **changes: Any) -> io.BytesIO:
    """Return a dump of these records, or lines, with a fitting trailer. changes: of the header's fields."""
    with db.connection() as connection:
        head = json.loads(header(catalog.tables(connection)))
    head["fields"] |= changes
    texts = [
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        for line in [head, *lines]
    ]
    return io.BytesIO(closed("[\n" + "".join(f"{text},\n" for text in texts)))


def closed(text: str, **changes: Any) -> bytes:
    """Return a dump's text with the trailer that it needs. changes: of the trailer's fields."""
    body = text.encode("utf-8", "surrogatepass")
    counts: dict[str, int] = {}
    for line in text.split("\n")[2:-1]:
        try:
            model = json.loads(line.rstrip().removesuffix(","))["model"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        counts[model] = counts.get(model, 0) + 1
    fields = {"rows": sum(counts.values()), "models": counts, "sha256": hashlib.sha256(body).hexdigest()} | changes
    return body + json.dumps({"model": "dump.trailer", "fields": fields}).encode() + b"\n]\n"


def organization(pk: int, name: object = None, **fields: Any) -> dict[str, Any]:
    """Return a record of an organization."""
    texts = dict.fromkeys(("description", "homepage_url", "image_url", "description_text"), "")
    return {
        "model": "organization",
        "pk": pk,
        "fields": {"name": name or f"org{pk}", **texts, "usage_id": None, "attrs": {}, **fields},
    }


def site(pk: int, organization_id: int, **fields: Any) -> dict[str, Any]:
    """Return a record of a site."""
    return {
        "model": "site",
        "pk": pk,
        "fields": {
            "name": f"site{pk}", "organization_id": organization_id, "description": "", "location": "", "longitude": 0,
            "latitude": 0, "description_text": "", "attrs": {}, **fields,
        },
    }  # fmt: skip


SCHEMA = """
select 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'public'::regnamespace
union all
select 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index
where indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
union all
select 'trigger', tgrelid::regclass::text, tgname::text, concat(tgenabled, pg_get_triggerdef(oid)) from pg_trigger
where not tgisinternal
union all
select 'column', attrelid::regclass::text, attname::text, concat(attnotnull, attidentity, attgenerated) from pg_attribute
where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace) and attnum > 0 and not attisdropped
order by 1, 2, 3
"""


def schema_of(server: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Everything that a load takes apart."""
    return server.execute(SCHEMA).fetchall()


def rows_of(server: psycopg.Connection) -> dict[str, list[str]]:
    """All rows of all tables as the server's own text, in their physical order."""
    with server.cursor() as cursor:
        names = cursor.execute(
            "select format('%%I', relname) from pg_class"
            " where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> %s",
            ["schema_migrations"],
        ).fetchall()
        # An alias that is no column's name, which would stand for that column alone.
        return {name: [row for (row,) in cursor.execute(f"select _row::text from {name} _row").fetchall()] for (name,) in names}


def as_json(value: Any) -> str:
    """JSON text with numbers as they are given."""
    if isinstance(value, tuple):
        return str(value[1])
    if isinstance(value, list):
        return f"[{','.join(map(as_json, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{as_json(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def peak_memory(url: str, command: str, *arguments: str, directory: Path = CHECKOUT) -> float:
    """Return how many MB a command of tomato_dao.ops, of a checkout, has used at its peak, when it has ended well."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is known on Linux only")
    # ru_maxrss would tell of the process that started it, too
    script = (
        f"import re, pathlib, sys; from tomato_dao.ops.{command} import main; main('', sys.argv[1:]); "
        "print(re.search('VmHWM:[^0-9]*([0-9]+)', pathlib.Path('/proc/self/status').read_text())[1], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "DATABASE_URL": url, "OWNER_DATABASE_URL": "", "PYTHONPATH": str(directory)},
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) / 1024
