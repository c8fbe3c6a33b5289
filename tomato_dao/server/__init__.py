"""The server: connections to it, its schema version and capacity, sessions outside the pool, forks, notices, metrics.

This package is independent of ToMaTo.
"""
