"""Search for the records of a file that the server has refused, by line, model and pk."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from ..errors import AlreadyExists, Call, InvalidValue, NotFound, TomatoError, from_driver
from ..printable import printable
from .catalog import Reference, Rule, Table

_SHOWN = 10  # maximum faults of one kind in a message
_LONGEST = 60  # maximum characters of a value


class RowLines:
    """The line of the file of each table's n-th row. Consecutive lines share an entry: a dump has one per table."""

    def __init__(self) -> None:
        self._starts: dict[str, list[int]] = {}
        self._offsets: dict[str, list[int]] = {}
        self.counts: dict[str, int] = {}

    def add(self, table: str, rows: int, line: int) -> None:
        """Record that the next rows of a table start at this line."""
        start = self.counts.setdefault(table, 0)
        offsets = self._offsets.setdefault(table, [])
        if not offsets or offsets[-1] != line - start:
            offsets.append(line - start)
            self._starts.setdefault(table, []).append(start)
        self.counts[table] = start + rows

    def of(self, table: str, row: int) -> int:
        """Return the line of a table's row, counted from 0."""
        return self._offsets[table][bisect_right(self._starts[table], row) - 1] + row


def row_refused(error: psycopg.Error, table: Table, rows: Sequence[bytes], lines: Sequence[int]) -> TomatoError:
    """Find the rows that COPY has refused."""
    found = re.search(rf'COPY "?{re.escape(table.name)}"?\D+(\d+)', (error.diag.context or "").replace("load_", ""))
    if found is None or not 0 < int(found[1]) <= len(rows):
        return from_driver(error, Call(table.model, "insert", (), {}))
    n = int(found[1]) - 1
    texts = [printable(value.decode(errors="replace"), _LONGEST) for value in rows[n].split(b"\t")]
    values = dict(zip((column.name for column in table.columns), texts, strict=False))
    pk = ", ".join(texts[: len(table.key)])
    refusal = from_driver(error, Call(f"{table.model} {pk}", "insert", (), values))
    return type(refusal)(f"line {lines[n]}: {refusal}", entity=table.model, key=pk)


class Search:
    """Search for rows that violate a constraint, in a transaction that will fail."""

    def __init__(self, connection: psycopg.Connection, lines: RowLines, *, staged: bool) -> None:
        self._connection = connection
        self._lines = lines
        self._staged = staged

    def relation(self, table: Table) -> sql.Composable:
        """Return the temporary table with the file's rows of a table, in the file's order."""
        return staging(table) if self._staged else sql.Identifier(table.name)

    def duplicate(self, table: Table, columns: Sequence[str]) -> AlreadyExists | None:
        """Return the first record of the file with the same values in these columns as an earlier one."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        if table.distributed and not self._staged:
            query = sql.SQL("select concat_ws(', ', {}) from {} group by {} having count(*) > 1 limit 1")
            row = self._row(query.format(names, self.relation(table), names))
            return AlreadyExists(f"{table.model} {row[0]}: it is there twice", entity=table.model, key=row[0]) if row else None
        query = sql.SQL(
            "select (array_agg(ctid order by ctid))[1], (array_agg(ctid order by ctid))[2], min(tableoid)::int8 from {}"
            " where ({}) is not null group by {} having count(*) > 1 order by 2 limit 1"  # equal keys share a partition
        )
        row = self._row(query.format(self.relation(table), names, names))
        if row is None:
            return None
        (earlier_line, earlier), (line, pk) = (self._place(table, ctid, row[2]) for ctid in row[:2])
        if set(columns) == {column.name for column in table.key}:
            said = "it exists already" + ("" if earlier_line is None else f", on line {earlier_line}")
        else:
            said = f"its {', '.join(columns)} is that of the {table.model} "
            said += earlier if earlier_line is None else f"on line {earlier_line}"
        return AlreadyExists(f"{_at(line)}{table.model} {pk}: {said}", entity=table.model, key=pk)

    def taken(self, table: Table, columns: Sequence[str]) -> AlreadyExists | None:
        """Return the first record of the file with the same values in these columns as a row of the database."""
        same = sql.SQL(" and ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in columns)
        query = sql.SQL("select s.ctid, s.tableoid from {} s where exists (select from {} t where {}) order by 1 limit 1")
        row = self._row(query.format(self.relation(table), sql.Identifier(table.name), same))
        if row is None:
            return None
        line, pk = self._place(table, *row)
        said = f"another {table.model} of the database has the same {', '.join(columns)}"
        return AlreadyExists(f"{_at(line)}{table.model} {pk}: {said}", entity=table.model, key=pk)

    def dangling(self, references: Iterable[Reference], tables: dict[str, Table]) -> NotFound | None:
        """Return references to missing rows in the file's order, up to the number that is worth showing."""
        found = [place for reference in references for place in self._dangling(reference, tables)]
        if not found:
            return None
        found.sort(key=lambda place: (place[0] is None, place[0]))
        shown = "; ".join(_at(line) + text for line, text in found[:_SHOWN])
        count = f"the first {_SHOWN} references" if len(found) > _SHOWN else "references"
        return NotFound(f"{count} to missing records: {shown}")

    def _dangling(self, reference: Reference, tables: dict[str, Table]) -> list[tuple[int | None, str]]:
        table, to = tables[reference.table], tables[reference.to_table]
        if table.distributed:
            return self._far_dangling(table, to, reference)
        pairs = zip(reference.columns, reference.to_columns, strict=True)
        same = sql.SQL(" and ").join(
            sql.SQL("r.{} = t.{}").format(sql.Identifier(theirs), sql.Identifier(ours)) for ours, theirs in pairs
        )
        given = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in reference.columns)
        query = sql.SQL(
            "select {}, {}, concat_ws(', ', {}) from {} t where ({}) is not null"
            " and not exists (select from {} r where {}) order by t.ctid limit {}"
        ).format(
            sql.SQL("t.ctid") if not self._staged else self._staged_ctid(table),
            _pk(table, "t"), given, sql.Identifier(table.name), given, sql.Identifier(to.name), same, _SHOWN + 1,
        )  # fmt: skip
        named = ", ".join(reference.columns)
        return [
            (
                None if ctid is None else self._line(table, ctid),
                f"{table.model} {printable(pk, _LONGEST)}: {named} {printable(value, _LONGEST)} refers to a missing {to.model}",
            )
            for ctid, pk, value in self._connection.execute(query)
        ]

    def _far_dangling(self, table: Table, to: Table, reference: Reference) -> list[tuple[int | None, str]]:
        """Search a distributed table. Citus does not join its rows with the coordinator's, and they have no order."""
        query = sql.SQL(
            "with named as materialized (select distinct t.{0} as value from {1} t) select n.value from named n"
            " where not exists (select from {2} r where r.{3} = n.value) order by 1 limit {4}"
        ).format(
            sql.Identifier(*reference.columns), sql.Identifier(table.name), sql.Identifier(to.name),
            sql.Identifier(*reference.to_columns), _SHOWN + 1,
        )  # fmt: skip
        named = ", ".join(reference.columns)
        return [
            (None, f"{table.model} of {named} {value}: names no {to.model}") for (value,) in self._connection.execute(query)
        ]

    def broken(self, table: Table, rule: Rule) -> InvalidValue | None:
        """Return the error for the first rows that violate a rule that a constraint trigger normally enforces."""
        same = sql.SQL(" and ").join(sql.SQL("v.{0} = t.{0}").format(sql.Identifier(column.name)) for column in table.key)
        query = sql.SQL("select {}, {}, v.broken from {} t inner join {} v on {} order by t.ctid limit {}").format(
            sql.SQL("t.ctid") if not self._staged else self._staged_ctid(table),
            _pk(table, "t"), sql.Identifier(table.name), sql.Identifier(rule.view), same, _SHOWN,
        )  # fmt: skip
        found = [
            _at(None if ctid is None else self._line(table, ctid))
            + f"{table.model} {printable(pk, _LONGEST)}: {printable(how)}"
            for ctid, pk, how in self._connection.execute(query)
        ]
        return InvalidValue(f"{rule.message}: {'; '.join(found)}") if found else None

    def _staged_ctid(self, table: Table) -> sql.Composable:
        if table.name not in self._lines.counts:
            return sql.SQL("null")
        same = sql.SQL(" and ").join(sql.SQL("s.{0} = t.{0}").format(sql.Identifier(column.name)) for column in table.key)
        return sql.SQL("(select s.ctid from {} s where {})").format(staging(table), same)

    def _place(self, table: Table, ctid: str, tableoid: int) -> tuple[int | None, str]:
        """Return the pk and, if known, the line of a row of the file."""
        query = sql.SQL("select {} from {} t where t.ctid = {} and t.tableoid = {}").format(
            _pk(table, "t"), self.relation(table), ctid, tableoid
        )
        (pk,) = self._row(query) or ("",)
        return self._line(table, ctid), printable(pk, _LONGEST)

    def _line(self, table: Table, ctid: str) -> int | None:
        """Return the line of a row, or None for partitioned and distributed tables, which do not keep the order of rows."""
        if (table.members or table.distributed) and not self._staged:
            return None
        (before,) = self._row(sql.SQL("select count(*) from {} where ctid < {}").format(self.relation(table), ctid)) or (0,)
        return self._lines.of(table.name, before)

    def _row(self, query: sql.Composed) -> tuple[Any, ...] | None:
        return self._connection.execute(query).fetchone()


def _at(line: int | None) -> str:
    return "" if line is None else f"line {line}: "


def staging(table: Table) -> sql.Composable:
    """Return the temporary table that collects a table's rows during a merge."""
    return sql.SQL("pg_temp.{}").format(sql.Identifier(f"load_{table.name}"))


def _pk(table: Table, alias: str) -> sql.Composable:
    names = sql.SQL(", ").join(sql.Identifier(alias, column.name) for column in table.key)
    return sql.SQL("concat_ws(', ', {})").format(names)
