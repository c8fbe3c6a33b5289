"""Loads of mutants: each is taken exactly as it says, or refused by one clear line that leaves the database as it was."""

import gzip
import io
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from typing import Any

import psycopg
import zstandard

from tests.chaos.mutations import Mutant, mutant
from tests.helpers.transfer_cases import dumped, schema_of
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound, TomatoError, WrongSchema, load
from tomato_dao.transfer.load import check

_REFUSALS = (InvalidValue, AlreadyExists, NotFound, WrongSchema)
_LONGEST = 1000  # characters of a refusal
_SLOWEST = 60  # seconds that a small file may take
Rows = dict[str, dict[str, Any]]  # by model and key


@dataclass
class Fuzz:
    """Results of loads of mutants."""

    seen: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, seed: str, changed: Mutant, what: str) -> None:
        """Note a fault, with what repeats it."""
        self.faults.append(f"mutant {seed} ({changed.how}): {what}")


class Loads:
    """A database with a dump's rows, into which mutants of that dump are loaded."""

    def __init__(self, db: Database, server: psycopg.Connection, fuzz: Fuzz) -> None:
        self._db, self._server, self._fuzz = db, server, fuzz
        self.base = dumped(db)
        self._kinds = json.loads(self.base)[0]["fields"]["columns"]
        self._rows = self._rows_of(self.base)
        self._schema = schema_of(server)

    def go_on(self, seed: str, seconds: float, *, check_only: float = 0) -> None:
        """Load mutants for some seconds. check_only: the share of those that are only checked."""
        end, n = monotonic() + seconds, 0
        while monotonic() < end:
            self.one(f"{seed}.{n}", check_only=check_only)
            n += 1
        if schema_of(self._server) != self._schema:
            self._fuzz.faults.append(f"the schema has changed by mutants {seed}")

    def one(self, seed: str, *, check_only: float = 0) -> None:
        """Make a mutant, check it, and load it."""
        chance = random.Random(seed)  # noqa: S311 (no secret)
        changed = mutant(chance, self.base)
        mode = chance.choice(["replace", "merge"])
        is_checked = self._try(seed, changed, "check", lambda: check(io.BytesIO(changed.text)))
        if chance.random() < check_only:
            return
        began = monotonic()
        is_loaded = self._try(seed, changed, mode, lambda: load(self._db, io.BytesIO(changed.text), **{mode: True}))  # type: ignore[arg-type]
        if monotonic() - began > _SLOWEST:
            self._fuzz.fault(seed, changed, f"it took {monotonic() - began:.0f} s")
        after = dumped(self._db)
        if not is_loaded:
            if after != self.base:
                self._fuzz.fault(
                    seed, changed, f"it was refused, and the database is another one: {self._differences(self._rows, after)}"
                )
            return
        if not is_checked:
            self._fuzz.fault(seed, changed, "the check refuses what a load takes")
        try:
            told = self._rows_of(_unpacked(changed.text))
        except Exception as error:  # noqa: BLE001 (whatever it is, another program can't read the file)
            self._fuzz.fault(seed, changed, f"it was taken, and is no dump: {error!r}")
        else:
            if not changed.is_closed and told != self._rows:
                self._fuzz.fault(seed, changed, "it was taken although its hash can't fit")
            wanted = told if mode == "replace" else {m: self._rows.get(m, {}) | told.get(m, {}) for m in self._rows | told}
            if wrong := self._differences(wanted, after):
                self._fuzz.fault(seed, changed, f"it was taken otherwise than it says: {wrong}")
        load(self._db, io.BytesIO(self.base), replace=True)

    def _try(self, seed: str, changed: Mutant, what: str, call: Any) -> bool:
        """Return whether the mutant is taken; refusals have one clear line."""
        try:
            call()
        except _REFUSALS as error:
            told = str(error)
            self._fuzz.seen[f"{what}: refused"] += 1
            if not told.isprintable() or len(told) > _LONGEST:
                self._fuzz.fault(seed, changed, f"{what}: not one clear line: {told[:2000]!r}")
            elif not any(word in told for word in ("line ", "file", "dump")):
                self._fuzz.fault(seed, changed, f"{what}: it does not say where: {told}")
            return False
        except (
            TomatoError,
            psycopg.Error,
            ArithmeticError,
            LookupError,
            ValueError,
            TypeError,
            RecursionError,
            MemoryError,
        ) as error:
            self._fuzz.fault(seed, changed, f"{what}: {type(error).__name__}: {error}")
            return False
        self._fuzz.seen[f"{what}: taken"] += 1
        return True

    def _differences(self, wanted: Rows, after: bytes) -> str:
        """Return the first rows that are not as they should be; of the settings there is one row in any case."""
        there = self._rows_of(after)
        for model in sorted(wanted | there):
            mine, theirs = wanted.get(model, {}), there.get(model, {})
            for pk in mine | theirs:
                if mine.get(pk) != theirs.get(pk) and not (model == "settings" and not mine):
                    return f"{model} {pk}: {str(mine.get(pk))[:300]} has become {str(theirs.get(pk))[:300]}"
        return ""

    def _rows_of(self, text: bytes) -> Rows:
        """Return the rows that a dump tells of, with values that can be compared."""
        rows: Rows = {}
        for record in json.loads(text.removeprefix(b"\xef\xbb\xbf"), parse_int=Decimal, parse_float=Decimal)[1:-1]:
            kinds = self._kinds[record["model"]]
            fields = {name: _value(kinds[name].removesuffix("?"), value) for name, value in record["fields"].items()}
            rows.setdefault(record["model"], {})[_key(record["pk"])] = fields
        return rows


def _value(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "number":
        return str(float(value)) if float(value) else "0.0"
    if kind == "instant":
        with suppress(ValueError):
            return datetime.fromisoformat(value).astimezone(UTC)
    return value


def _key(pk: Any) -> str:
    values = pk if isinstance(pk, list) else [pk]
    return str([_value("instant", value) if isinstance(value, str) else value for value in values])


def _unpacked(text: bytes) -> bytes:
    if text[:1] == b"\x1f":
        return gzip.decompress(text)
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(text)).read() if text[:1] == b"\x28" else text
