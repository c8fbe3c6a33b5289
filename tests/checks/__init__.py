"""Tests of the contributors' checks."""
