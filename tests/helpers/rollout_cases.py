"""A release after this one, for tests: an expand migration, a backfill and a contract migration of organizations."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tomato_dao.ops import backfills, migrate
from tomato_dao.server import rolling, schema

EXPAND, CONTRACT = "29990101000000", "29990102000000"
UNSUPPORTED = (
    "has schema version {theirs}, which supports code of schema version {oldest} and later; this code is of schema version "
    "{ours}: it belongs to a newer tomato-dao; install that version"
)
PENDING = "run bin/backfill fill, then make migrate"
UP = """-- migrate:up
-- compatible: {oldest}
alter table organizations add column shown text;

create function fill_shown() returns trigger language plpgsql set search_path from current as $$
begin
  new.shown := coalesce(new.shown, new.name);
  return new;
end;
$$;

create trigger organizations_fill_shown before insert on organizations for each row execute function fill_shown();

-- migrate:down

drop trigger organizations_fill_shown on organizations;
drop function fill_shown();
alter table organizations drop column shown;
"""
DOWN = """-- migrate:up
-- breaks: older code reads image_url
-- backfill: fill
alter table organizations drop column image_url;
{comment}

-- migrate:down

alter table organizations add column image_url text not null default '';
{comment_before}
"""
FILL = """-- Fills organizations.shown.
-- table: organizations
-- key: id
-- todo: shown is null
update organizations
set shown = name
where id between :first and :last and shown is null;
"""


class Rollout:
    """This release (older) and the one after it (newer), of which `schema` reads one."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write the migrations of the newer release into a directory. Until `newer`, the code is the older one."""
        self.base = schema.known()[-1]
        self.oldest = rolling.migrations()[-1].oldest
        self.directory = directory
        self._older = schema.DB_DIR
        self._patch = monkeypatch
        monkeypatch.setattr(rolling, "_told", set())
        write(directory)

    def newer(self) -> None:
        """Be the newer code from here on."""
        self._patch.setattr(schema, "DB_DIR", self.directory / "db")

    def older(self) -> None:
        """Be the older code from here on."""
        self._patch.setattr(schema, "DB_DIR", self._older)

    def fill(self, url: str, rows: int = 0) -> None:
        """Apply the expand migration, where it is not there, and do the backfill."""
        with psycopg.connect(url, autocommit=True) as connection:
            if EXPAND not in schema.applied(connection):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(backfills, "is_done", lambda *_: False)
                    migrate.migrate(url, save=False)
            assert backfills.backfill(connection, "fill", pause=0) == rows

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment of a process that runs the newer code."""
        if not (self.directory / "tomato_dao").exists():
            package(self.directory)
        return {**os.environ, "DATABASE_URL": url, "PYTHONPATH": os.fspath(self.directory)}

    def command(self, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the newer code."""
        return subprocess.run(
            [sys.executable, "-m", "tomato_dao", *arguments],
            env=self.environment(url),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )


def write(directory: Path) -> None:
    """Write the newer release's migrations and backfill into a directory."""
    shutil.copytree(schema.DB_DIR, directory / "db")
    base = rolling.migrations()[-1]
    migrations = directory / "db" / "migrations"
    (migrations / f"{EXPAND}_expand.sql").write_text(UP.format(oldest=base.oldest))
    (migrations / f"{CONTRACT}_contract.sql").write_text(
        DOWN.format(comment=rolling.comment_for(CONTRACT), comment_before=rolling.comment_for(base.oldest))
    )
    (directory / "db" / "backfills" / "fill.sql").write_text(FILL)


def package(directory: Path) -> None:
    """Write the newer release's code beside its migrations: a checkout of it. It reads no organization's image_url."""
    shutil.copytree(CHECKOUT / "tomato_dao", directory / "tomato_dao", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "Makefile").touch()
    file = directory / "db" / "queries" / "organizations.sql"
    file.write_text(without_image_url(file.read_text()))


def without_image_url(queries: str) -> str:
    """Return queries of organizations without the column image_url, with the same parameters and results."""
    queries = queries.replace("o.image_url", "'' as image_url").replace(
        ":homepage_url, :image_url", ":homepage_url || left(:image_url, 0)"
    )
    return re.sub(r"(?m)^(?!-- )(.*?)(?<!as )\b(?:r\.)?(?<!:)image_url, ", r"\1", queries)
