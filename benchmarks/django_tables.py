"""Run Django's dumpdata or loaddata over all tables: python -m benchmarks.django_tables URL dumpdata FILE."""

import sys
from typing import Any

import django
import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from psycopg.conninfo import conninfo_to_dict

from tomato_dao.transfer import catalog
from tomato_dao.transfer.catalog import Column, Table


def main() -> None:
    """Dump the database of a URL into a file, or load the file."""
    url, command, file = sys.argv[1:]
    _configure(url)
    with psycopg.connect(url) as connection:
        for table in catalog.tables(connection):
            _model(table)
    if command == "dumpdata":
        call_command("dumpdata", "benchmarks", output=file, verbosity=0)
    else:
        call_command("loaddata", file, verbosity=0)


def _configure(url: str) -> None:
    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "django.db.backends.postgresql"} | {k: str(parts[v]) for k, v in names.items() if v in parts}
        },
        INSTALLED_APPS=["benchmarks"],
        USE_TZ=True,
    )
    django.setup()
    # dumpdata skips an app without a models module.
    apps.get_app_config("benchmarks").models_module = sys.modules[__name__]


def _model(table: Table) -> None:
    from django.db import models

    fields: dict[str, Any] = {column.name: _field(column) for column in table.columns}
    if len(table.key) > 1:
        fields["pk"] = models.CompositePrimaryKey(*(column.name for column in table.key))
    else:
        fields[table.key[0].name] = _field(table.key[0], primary_key=True)
    meta = type("Meta", (), {"managed": False, "app_label": "benchmarks", "db_table": table.name})
    name = "".join(word.title() for word in table.model.split("_"))
    type(name, (models.Model,), {**fields, "Meta": meta, "__module__": __name__})


def _field(column: Column, **options: Any) -> Any:
    from django.contrib.postgres.fields import ArrayField
    from django.db import models

    options |= {"null": column.nullable}
    if column.kind == "array":
        return ArrayField(models.TextField(), **options)
    kinds: dict[str, Any] = {
        "integer": models.BigIntegerField,
        "number": models.FloatField,
        "boolean": models.BooleanField,
        "instant": models.DateTimeField,
        "json": models.JSONField,
        "text": models.TextField,
    }
    return kinds[column.kind](**options)


if __name__ == "__main__":
    main()
