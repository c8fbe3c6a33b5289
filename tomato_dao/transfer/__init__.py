"""Dumps and loads: the dump, its reader, and the engine that loads rows.

dump.py writes the lines that snapshot.py reads; load.py passes the blocks of reader.py to engine.py. The engine can load any
other source that yields blocks (see `engine.Block`).
"""

from ..dao import rules  # noqa: F401 (importing it registers the rules)
