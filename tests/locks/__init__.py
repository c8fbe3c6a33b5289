"""Tests of exclusive()."""
