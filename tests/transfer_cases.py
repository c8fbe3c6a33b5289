"""What the tests of dump and load share: dumps by hand, small worlds, and databases that are compared."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

import tomato_dao
from tomato_dao import Database
from tomato_dao.testing import cloned
from tomato_dao.transfer import catalog
from tomato_dao.transfer.dump import header

Record = Mapping[str, Any] | str


@contextmanager
def another_database(server_url: str, template: str) -> Iterator[Database]:
    """A Database on one more migrated, empty database."""
    with cloned(server_url, template) as url, tomato_dao.connect(url) as db:
        yield db


def dumped(db: Database, *, jobs: int = 1) -> bytes:
    """What a dump of the database is."""
    file = io.BytesIO()
    tomato_dao.dump(db, file, jobs=jobs)
    return file.getvalue()


def records(text: bytes) -> list[dict[str, Any]]:
    """The records of a dump, without header and trailer."""
    found: list[dict[str, Any]] = json.loads(text)
    return found[1:-1]


def by_hand(db: Database, lines: Iterable[Record], **changes: Any) -> io.BytesIO:
    """A dump of these records, or lines, with a fitting trailer. changes: of the header's fields."""
    with db.connection() as connection:
        head = json.loads(header(catalog.tables(connection)))
    head["fields"] |= changes
    texts = [
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        for line in [head, *lines]
    ]
    return io.BytesIO(closed("[\n" + "".join(f"{text},\n" for text in texts)))


def closed(text: str, **changes: Any) -> bytes:
    """A dump's text with the trailer that it needs. changes: of the trailer's fields."""
    body = text.encode("utf-8", "surrogatepass")
    counts: dict[str, int] = {}
    for line in text.split("\n")[2:-1]:
        try:
            model = json.loads(line.rstrip().removesuffix(","))["model"]
        except (ValueError, TypeError, KeyError):
            continue
        counts[model] = counts.get(model, 0) + 1
    fields = {"rows": sum(counts.values()), "models": counts, "sha256": hashlib.sha256(body).hexdigest()} | changes
    return body + json.dumps({"model": "dump.trailer", "fields": fields}).encode() + b"\n]\n"


def organization(pk: int, name: object = None, **fields: Any) -> dict[str, Any]:
    """A record of an organization."""
    texts = dict.fromkeys(("description", "homepage_url", "image_url", "description_text"), "")
    return {
        "model": "organization",
        "pk": pk,
        "fields": {"name": name or f"org{pk}", **texts, "usage_id": None, "attrs": {}, **fields},
    }


def site(pk: int, organization_id: int, **fields: Any) -> dict[str, Any]:
    """A record of a site."""
    return {
        "model": "site",
        "pk": pk,
        "fields": {
            "name": f"site{pk}", "organization_id": organization_id, "description": "", "location": "", "longitude": 0,
            "latitude": 0, "description_text": "", "attrs": {}, **fields,
        },
    }  # fmt: skip


LAYOUT = """
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


def layout_of(server: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Everything that a load takes apart."""
    return server.execute(LAYOUT).fetchall()


def rows_of(server: psycopg.Connection) -> dict[str, list[str]]:
    """All rows of all tables as the server's own text, in their physical order."""
    with server.cursor() as cursor:
        names = cursor.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> %s",
            ["schema_migrations"],
        ).fetchall()
        return {name: [row for (row,) in cursor.execute(f"select t::text from {name} t").fetchall()] for (name,) in names}
