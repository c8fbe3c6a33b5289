"""The old backend's dump: read into temporary tables, joined into rows there, and checked against the schema's rules.

reader.py reads the file, models.py maps the fields, rows.py and values.py convert the values; the SQL is in db/legacy.
"""
