"""Tests of the schema, its versions, metrics and notices."""
