"""Query files with choices for tests: a query of dumps, filtered and in one of two orders, and a reader of one query."""

from collections.abc import Callable

from tomato_dao.sql.query import Query

Read = Callable[[str], Query]

DUMPS = """-- name: list(group_id, source, available, after_at, after_source, after_id, limit)
-- optional: group_id, source, available, after_at, after_source, after_id
-- order: newest = d.at desc, d.source desc, d.dump_id desc
-- order: source = d.source, d.dump_id
-- Dumps, filtered and in one of two orders.
select d.at, d.source, d.dump_id
from dumps d
where true
  and d.group_id = :group_id -- if: group_id
  and d.source = :source -- if: source
  and d.available = :available -- if: available
  and (d.at, d.source, d.dump_id) < (:after_at, :after_source, :after_id) -- after: newest
  and (d.source, d.dump_id) > (:after_source, :after_id) -- after: source
order by d.at desc, d.source desc, d.dump_id desc -- order
limit :limit;
"""
