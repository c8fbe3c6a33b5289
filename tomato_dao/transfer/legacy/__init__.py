"""The old backend's dump: read (reader.py) into temporary tables, joined there into rows, held against the schema's rules.

models.py says where each field goes, rows.py and values.py how its value is read; the SQL is in db/legacy.
"""
