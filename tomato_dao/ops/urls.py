"""The database's URLs, from the environment or of the embedded server."""

import os


def database_url() -> str:
    """Return DATABASE_URL, else the URL of the embedded server, which is started if necessary."""
    if url := _named("DATABASE_URL"):
        return url
    from . import embedded  # needs the extra “embedded”, and costs 5 ms

    return embedded.start()


def direct_database_url() -> str | None:
    """Return the URL for sessions that a pooler must not share: DIRECT_DATABASE_URL, which goes with DATABASE_URL."""
    return _named("DIRECT_DATABASE_URL") if _named("DATABASE_URL") else None


def owner_url() -> str:
    """Return the owner's URL, for migrations, loads and restores: OWNER_DATABASE_URL, else as `database_url`."""
    return _named("OWNER_DATABASE_URL") or database_url()


def owner_url_for(url: str) -> str:
    """Return the URL that migrates the database of a worker's URL: OWNER_DATABASE_URL, else the worker itself."""
    return _named("OWNER_DATABASE_URL") or url


def _named(variable: str) -> str | None:
    """Return a URL of the environment, without surrounding white space from a file or a shell."""
    return os.environ.get(variable, "").strip() or None
