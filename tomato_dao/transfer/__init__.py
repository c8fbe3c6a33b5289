"""Everything out of a database and into one: the dump, its reader, and the engine that loads rows.

dump.py writes what snapshot.py reads; load.py gives the blocks of reader.py to engine.py. Whatever else yields blocks (see
`engine.Block`) can be loaded by the same engine.
"""

from ..dao import rules  # noqa: F401 (importing it registers the rules)
