"""Tests of loading the old backend's dumps."""
