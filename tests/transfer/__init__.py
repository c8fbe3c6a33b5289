"""Tests of dump and load."""
