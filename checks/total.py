"""The server's own functions and operators that make no null of their own: null only where an argument is."""

from .catalog import Catalog
from .node_tree import Node

_SCALARS = {
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "text", "character varying",
    "character", "name", "bytea", "uuid", "date", "timestamp without time zone", "timestamp with time zone", "interval", "oid",
}  # fmt: skip
# The operators that compare, of any types: they are in an operator family, whose functions never return null.
_COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
_OPERATORS = {"+", "-", "*", "/", "%", "||", "~", "!~", "~*", "!~*", "~~", "!~~", "~~*", "!~~*", "^@"}
_VALUES_JOINED = {"||(anycompatiblearray,anycompatible)", "||(anycompatible,anycompatiblearray)"}
ARRAYS_JOINED = _VALUES_JOINED | {"||(anycompatiblearray,anycompatiblearray)"}
_OTHER_OPERATORS = ARRAYS_JOINED | {
    "||(jsonb,jsonb)", "||(text,anynonarray)", "||(anynonarray,text)", "-(jsonb,text)",
    "-(jsonb,text[])", "-(jsonb,integer)", "@>(jsonb,jsonb)", "<@(jsonb,jsonb)", "?(jsonb,text)", "?|(jsonb,text[])",
    "?&(jsonb,text[])", "@>(anyarray,anyarray)", "<@(anyarray,anyarray)", "&&(anyarray,anyarray)", "@>(anyrange,anyelement)",
    "@>(anyrange,anyrange)", "<@(anyelement,anyrange)", "<@(anyrange,anyrange)", "&&(anyrange,anyrange)", "#-(jsonb,text[])",
}  # fmt: skip
# Functions by name; all arguments are scalars.
_FUNCTIONS = {
    "abs", "ascii", "btrim", "ceil", "ceiling", "char_length", "character_length", "chr", "clock_timestamp", "date_bin",
    "date_trunc", "exp", "floor", "gen_random_uuid", "initcap", "left", "length", "ln", "lower", "lpad", "ltrim", "md5", "mod",
    "nextval", "now", "octet_length", "pi", "position", "power", "random", "repeat", "replace", "reverse", "right", "round",
    "rpad", "rtrim", "sha256", "sign", "split_part", "sqrt", "starts_with", "statement_timestamp", "strpos", "timezone",
    "to_hex", "transaction_timestamp", "translate", "trunc", "upper",
}  # fmt: skip
_OTHER_FUNCTIONS = {
    "array_remove(anycompatiblearray,anycompatible)", "array_cat(anycompatiblearray,anycompatiblearray)",
    "cardinality(anyarray)", "array_to_string(anyarray,text)", "to_json(anyelement)", "to_jsonb(anyelement)",
    "jsonb_typeof(jsonb)", "json_typeof(json)", "jsonb_array_length(jsonb)", "json_array_length(json)",
    "jsonb_strip_nulls(jsonb,boolean)", "nextval(regclass)", "random(integer,integer)", "num_nonnulls(\"any\")",
    "isempty(anyrange)", "text(boolean)",
}  # fmt: skip
# Their value may be null, for an infinite time.
_PARTIAL_CASTS = {"time", "timetz"}
NEVER_NULL = {
    "concat", "concat_ws", "count", "json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object", "rank",
    "dense_rank", "percent_rank", "cume_dist", "row_number", "array_append", "array_prepend",
}  # fmt: skip
# Aggregates that are not null for a group, which has a row; and those that need a value that is not null.
OF_A_GROUP = {"array_agg", "json_agg", "json_object_agg", "jsonb_agg", "jsonb_object_agg"}
OF_A_GROUPS_VALUES = {"avg", "bit_and", "bit_or", "bool_and", "bool_or", "every", "max", "min", "string_agg", "sum"}
# Set-returning, in FROM: the rows' value is never null where no argument is.
ROWS_NEVER_NULL = {"generate_series", "jsonb_array_elements", "json_array_elements", "jsonb_object_keys", "json_object_keys"}


def name_of(signature: str) -> str:
    """Return the name in a signature."""
    return signature.partition("(")[0].strip('"')


def arguments_of(signature: str) -> list[str]:
    """Return the types in a signature."""
    return signature.partition("(")[2].removesuffix(")").split(",")


def is_never_null(catalog: Catalog, expr: Node) -> bool:
    """Return whether a call or operator has a value, whatever its arguments are."""
    if expr.label == "OPEXPR":
        return catalog.operator(expr) in _VALUES_JOINED
    return name_of(catalog.signature(expr)) in NEVER_NULL and not expr.has("funcvariadic")


def is_total(catalog: Catalog, expr: Node) -> bool:
    """Return whether a call or operator is null only where an argument is."""
    if expr.has("funcretset") or expr.has("opretset") or expr.has("funcvariadic"):
        return False
    if expr.label == "OPEXPR":
        signature = catalog.operator(expr)
        name = name_of(signature)
        return name in _COMPARISONS or signature in _OTHER_OPERATORS or (name in _OPERATORS and _has_scalars(signature))
    if expr.label != "FUNCEXPR":
        return False
    signature = catalog.signature(expr)
    name = name_of(signature)
    is_cast = expr.number("funcformat") in (1, 2) and name not in _PARTIAL_CASTS
    return signature in _OTHER_FUNCTIONS or ((name in _FUNCTIONS or is_cast) and _has_scalars(signature))


def _has_scalars(signature: str) -> bool:
    return bool(signature) and all(type_ in _SCALARS | {"", "NONE"} for type_ in arguments_of(signature))
