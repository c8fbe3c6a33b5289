"""The database's URLs: what the environment says, else the embedded server's."""

import os


def database_url() -> str:
    """Where the database is: DATABASE_URL, else that of the embedded server, which is started where it isn't running."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    from . import embedded  # needs the extra of that name, and costs 5 ms

    return embedded.start()


def direct_database_url() -> str | None:
    """Where sessions that a pooler must not share are opened: DIRECT_DATABASE_URL, which goes with DATABASE_URL."""
    return os.environ.get("DIRECT_DATABASE_URL") if os.environ.get("DATABASE_URL") else None


def owner_url() -> str:
    """Who migrates, loads and restores: OWNER_DATABASE_URL, else as `database_url`."""
    return os.environ.get("OWNER_DATABASE_URL") or database_url()
