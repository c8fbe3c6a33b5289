"""Tests of the pool, and of what it does when sessions, servers and tasks end."""
