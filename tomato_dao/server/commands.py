"""The commands that messages name: those of a checkout, or those of an installed package."""

from pathlib import Path

_BESIDE_PACKAGE = Path(__file__).parents[2]
_TARGETS = {  # subcommands that a checkout has in its Makefile; it has the others in bin/
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
    """Return what the reader of a message types to run a subcommand of tomato-dao.

    That is `make migrate` or `bin/dump` in a checkout, `tomato-dao migrate` or `tomato-dao dump` elsewhere.
    """
    if checkout() is None:
        return f"tomato-dao {subcommand}"
    target = _TARGETS.get(subcommand)
    return f"make {target}" if target else f"bin/{subcommand}"


def checkout() -> Path | None:
    """Return the directory of the checkout that this package is part of; None for an installed package."""
    is_checkout = (_BESIDE_PACKAGE / "Makefile").is_file() and (_BESIDE_PACKAGE / "db").is_dir()
    return _BESIDE_PACKAGE if is_checkout else None
