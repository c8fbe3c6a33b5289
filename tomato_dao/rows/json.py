"""Types for JSON: as it is read (Json), and as it may be given (JsonIn)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    # Union, since a quoted alias could not be part of another one.
    Json: TypeAlias = "dict[str, Json]" | "list[Json]" | str | int | float | bool | None
else:
    Json = Any  # msgspec reads the rows' annotations and knows no recursive alias
JsonObject: TypeAlias = dict[str, Json]
# The values that are accepted as JSON.
JsonIn: TypeAlias = Union["Mapping[str, JsonIn]", "Sequence[JsonIn]", str, int, float, bool, datetime, None]
