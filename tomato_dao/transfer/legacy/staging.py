"""Temporary tables of an old dump: filled, joined, checked, and read back as rows of the schema's tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from ...errors import DatabaseFailure, WrongSchema, rule_of
from ...printable import printable
from ...server import schema
from ..catalog import Table
from ..engine import Block
from ..files import Source
from ..report import Progress, Report
from .models import LAST_MIGRATION, MIGRATIONS, MODELS, OTHER_RESOURCE, RESOURCE, RESOURCES, field_of
from .reader import LegacyRecords, Record
from .report import Drop, LegacySummary, Mended, Merge, Refusal
from .rows import RECORD, Cost, Rows, StagedColumn, sendable, shown

_SQL = schema.DB_DIR / "legacy"
_PIECE = 8 << 20  # characters of records per write to the server
_ROWS = 5000  # of a block


class Staging:
    """An old dump in temporary tables on a separate connection, which are dropped with it."""

    def __init__(self, connection: psycopg.Connection[Any], progress: Report | None) -> None:
        self._connection = connection
        self._progress = progress
        self._read: Counter[str] = Counter()
        self._size = 0
        self._versions: set[str] = set()  # schema versions named in the dump
        for setting in ("statement_timeout = 0", "work_mem = '64MB'"):
            connection.execute(sql.SQL("set ") + sql.SQL(setting))
        self._run("tables")
        tables: dict[str, dict[str, StagedColumn]] = {}
        for table, name, kind, nullable, expression, in_schema in self._run("columns").fetchall():
            default = self._one(sql.SQL("select ({})::text").format(sql.SQL(expression))) if expression else None
            tables.setdefault(table, {})[name] = StagedColumn(kind, nullable, default, in_schema)
        self._rows = {name: Rows(model, tables[model.table]) for name, model in MODELS.items()}
        self._resources = {kind: Rows(model, tables[model.table]) for kind, model in RESOURCES.items()}
        self._other_resource = Rows(OTHER_RESOURCE, tables[OTHER_RESOURCE.table])

    def read(self, chunks: Source) -> None:
        """Copy the file's records into the temporary tables. Raises WrongSchema if they are not of schema 0038."""
        records = LegacyRecords(chunks)
        gathered: dict[Rows, list[Sequence[object]]] = {}
        offences: list[Sequence[object]] = []
        size = 0
        for record in records:
            record.model = sendable(record.model)
            self._read[record.model] += 1
            self._gather(record, gathered, offences)
            size += record.size
            if size > _PIECE:
                self._copy(gathered, offences)
                size, self._size = 0, records.size
                self._tell("reading", chunks.part())
        self._copy(gathered, offences)
        self._check_schema()

    def _gather(self, record: Record, gathered: dict[Rows, list[Sequence[object]]], offences: list[Sequence[object]]) -> None:
        def refuse(field: str, value: object, rule: object, cost: Cost) -> None:
            told = (record.model, sendable(str(record.pk)), [sendable(field)], shown(value), str(rule))
            offences.append((*told, cost.costs, cost.became, cost.reset))

        if record.model == MIGRATIONS and record.fields.get("app_name") == "tomato":
            self._versions.add(str(record.fields.get("migration")))
        rows = self._rows.get(record.model)
        if record.model == RESOURCE:
            kind = record.fields.pop("type", None)
            rows = self._resources.get(kind) if isinstance(kind, str) else None
            if rows is None:
                rows, record.fields = self._other_resource, {"type": kind}
        if rows is None:
            refuse("model", record.model, "there is no such model in schema 0038", RECORD)
        elif (row := rows.row(record, refuse)) is not None:
            gathered.setdefault(rows, []).append(row)

    def _copy(self, gathered: dict[Rows, list[Sequence[object]]], offences: list[Sequence[object]]) -> None:
        for rows, values in gathered.items():
            self._copy_into(rows.table, rows.columns, values)
        self._copy_into("offences", ("model", "pk", "columns", "value", "rule", "costs", "became", "reset"), offences)
        gathered.clear()
        offences.clear()

    def _copy_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), names)
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for row in rows:
                copy.write_row(row)

    def _check_schema(self) -> None:
        last = max(self._versions, default=None)
        if last is None:
            raise WrongSchema(
                "the old dump lacks the app south, which holds its schema version: write it with "
                "./manage.py dumpdata tomato south > dump.json"
            )
        if last != LAST_MIGRATION:
            what = "migrate the old backend first (./manage.py migrate tomato) and dump it again"
            if last > LAST_MIGRATION:
                what = "this code does not support that version of the old backend"
            raise WrongSchema(f"the old dump is of schema {printable(last, 80)}, but {LAST_MIGRATION} is needed: {what}")

    def join(self) -> None:
        """Join the records into rows."""
        self._tell("joining")
        self._run("rules")
        self._run("join")

    def judge(self, *, skip_invalid: bool) -> list[Refusal]:
        """Return the file's violations of rules. If they are to be skipped, drop them with everything that depends on them."""
        self._tell("checking")
        found = self._find_offences(1)
        refused = self._refused()
        this_round = 1
        while skip_invalid and found:
            self._connection.execute("select pg_temp.drop_offenders(%s)", [this_round])
            this_round += 1
            found = self._find_offences(this_round)
        return refused

    def extend_timeouts(self, period: timedelta) -> None:
        """Postpone all topology timeouts to at least a period from now."""
        self._connection.execute("select pg_temp.extend_timeouts(%s)", [period])

    def settle(self) -> None:
        """Determine the fate of every record, and complete the loaded ones."""
        self._run("fates")
        self._run("identities")

    def blocks(self, tables: Sequence[Table]) -> Iterator[Block]:
        """Yield the rows of these tables, ordered by their keys."""
        for table in tables:
            if self._one("select to_regclass(%s) is null", "pg_temp.staged_" + table.name):
                continue
            query = sql.SQL("copy (select {} from {} order by {}) to stdout").format(
                sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
                sql.Identifier("staged_" + table.name),
                sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key),
            )
            rows: list[bytes] = []
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                for row in copy:
                    rows.append(bytes(row[:-1]))
                    if len(rows) == _ROWS:
                        yield Block(table, b"\n".join(rows), len(rows), 0)
                        rows = []
            if rows:
                yield Block(table, b"\n".join(rows), len(rows), 0)

    def summary(self, refused: list[Refusal], seconds: float) -> LegacySummary:
        """Return the summary of all records, after `settle`."""
        fates = self._connection.execute("select model, fate, records from counts").fetchall()
        drops = self._connection.execute(
            "select model, columns, reason, meaning, records, pks from drops order by model, reason, columns"
        )
        merges = self._connection.execute("select model, pk, into_pk, differs from merges order by model, length(pk), pk")
        summary = LegacySummary(
            models={model: records for model, fate, records in fates if fate == "loaded"},
            seconds=seconds,
            read=dict(self._read),
            merged={model: records for model, fate, records in fates if fate == "merged"},
            drops=[
                Drop(model, _fields(model, columns), _worded(reason, meaning), records, pks)
                for model, columns, reason, meaning, records, pks in drops
            ],
            merges=[Merge(*row) for row in merges],
            refused=refused,
            mended=self._mended(),
        )
        for model, read in summary.read.items():
            told = summary.models.get(model, 0) + summary.merged.get(model, 0) + summary.dropped(model)
            if told != read:
                raise DatabaseFailure(
                    f"{read} records of {printable(model, 80)} were read, but the fate of only {told} is known"
                )
        return summary

    def _find_offences(self, this_round: int) -> bool:
        self._connection.execute("select pg_temp.find_offences(%s)", [this_round])
        return bool(self._one("select exists (select from offences where round = %s)", this_round))

    def _refused(self) -> list[Refusal]:
        """Return the file's violations of rules."""
        rows = self._connection.execute("select model, pk, columns, value, rule, meaning from listed where round = 1")
        return [
            Refusal(model, pk, _fields(model, columns), value, _worded(rule, meaning))
            for model, pk, columns, value, rule, meaning in rows
        ]

    def _mended(self) -> list[Mended]:
        """Return the values that are loaded differently from the file."""
        rows = self._connection.execute("select model, pk, columns, value, became, reason, meaning from mended")
        return [
            Mended(model, pk, _fields(model, columns), value, became, _worded(reason, meaning))
            for model, pk, columns, value, became, reason, meaning in rows
        ]

    def _run(self, file: str) -> psycopg.Cursor[Any]:
        return self._connection.execute((_SQL / f"{file}.sql").read_bytes())

    def _one(self, query: LiteralString | sql.Composed, *values: object) -> Any:
        row = self._connection.execute(query, values or None).fetchone()
        return row[0] if row else None

    def _tell(self, doing: str, part: float | None = None) -> None:
        if self._progress:
            self._progress(Progress(doing, part, self._size, sum(self._read.values())))


def _fields(model: str, columns: Sequence[str] | None) -> str:
    return ", ".join(field_of(model, column) for column in columns or ())


def _worded(rule: str, meaning: str | None = None) -> str:
    """Describe a rule for people. Constraints are described by their condition."""
    return rule_of(rule) or meaning or rule
