"""Wording of counts in messages."""


def counted(number: int, one: str) -> str:
    """Return a number with its noun, given in the singular: “1 row”, “2,300 rows”, “1 process”, “2 processes”."""
    if number == 1:
        return f"1 {one}"
    return f"{number:,} {one}{'es' if one.endswith('ss') else 's'}"
