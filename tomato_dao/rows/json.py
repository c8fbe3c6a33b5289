"""JSON as plain Python: what is read, and what may be given."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, Union

# Union, since a quoted alias could not be part of another one.
Json: TypeAlias = Union["dict[str, Json]", "list[Json]", str, int, float, bool, None]
JsonObject: TypeAlias = dict[str, Json]
# What may be given as JSON.
JsonIn: TypeAlias = Union["Mapping[str, JsonIn]", "Sequence[JsonIn]", str, int, float, bool, datetime, None]
