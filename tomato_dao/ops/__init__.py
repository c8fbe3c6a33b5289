"""Operators' commands: the embedded server, migrations, the schema file, single queries."""
