"""Tests of query files, statements, adapters and rows."""
