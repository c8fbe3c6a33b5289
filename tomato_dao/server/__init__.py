"""The server: how it is reached, its schema version and capacity, sessions of our own, forks, notices, metrics.

Knows nothing of ToMaTo.
"""
