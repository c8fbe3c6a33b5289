"""Tests with a real standby."""
