"""Commands named in messages: those of a checkout, or those of an installed package."""

from pathlib import Path

_BESIDE_PACKAGE = Path(__file__).parents[2]
# Looked at while the code can surely be read: the process may become another user.
_IS_CHECKOUT = (_BESIDE_PACKAGE / "Makefile").is_file() and (_BESIDE_PACKAGE / "db").is_dir()
_TARGETS = {  # subcommands that are targets of a checkout's Makefile; the others are in bin/
    "migrate": "migrate",
    "migrate --contract": "migrate CONTRACT=yes",
    "migrate new": "new-migration",
    "migrate rollback": "rollback",
    "migrate status": "migrate-status",
    "roles": "roles",
    "embedded remove": "clean",
    "embedded stop": "stop",
}


def command_line(subcommand: str) -> str:
    """Return the command line, for a message, that runs a subcommand of tomato-dao.

    Examples: `make migrate` or `bin/dump` in a checkout, `tomato-dao migrate` or `tomato-dao dump` elsewhere.
    """
    if checkout() is None:
        return f"tomato-dao {subcommand}"
    target = _TARGETS.get(subcommand)
    return f"make {target}" if target else f"bin/{subcommand}"


def checkout() -> Path | None:
    """Return the directory of the checkout that contains this package, or None for an installed package."""
    return _BESIDE_PACKAGE if _IS_CHECKOUT else None
