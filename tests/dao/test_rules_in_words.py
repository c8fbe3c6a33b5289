"""Every rule of a value has words, for messages of calls, of loads and of old dumps."""

from tomato_dao import Database
from tomato_dao.errors import rule_of

BOOKS = ("usage_due_type_check", "usage_progress_id_check", "usage_run_id_check")  # which only the accounting itself writes


def test_every_check_of_a_table_has_a_rule_in_words(db: Database) -> None:
    with db.connection() as connection:
        names = connection.execute(
            "select conname::text from pg_constraint"
            " where contype = 'c' and conrelid <> 0 and connamespace = 'public'::regnamespace order by 1"
        ).fetchall()
    assert len(names) > 40
    assert [name for (name,) in names if rule_of(name) is None and name not in BOOKS] == []
