"""Tests of listen()."""
