"""Named queries: their files, how they run as prepared statements, how values cross, how rows are built.

Knows nothing of ToMaTo: the loader is given the row classes. Another project could lift this folder together with errors.py.
"""
