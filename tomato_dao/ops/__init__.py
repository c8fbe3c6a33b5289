"""What operators run: the embedded server, migrations, the schema file, single queries."""
