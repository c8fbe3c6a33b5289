"""Named queries: query files, prepared statements, conversion of values, and construction of rows.

This package is independent of ToMaTo: the loader takes the row classes as an argument. Another project could use this folder
together with errors.py.
"""
