"""Tests of the DAOs and of the rules that the database keeps."""
