-- name: combine(now)<!
-- record_class: CombinedLinks
-- nullable: now
-- not null: ran, written, pruned
-- Combine all that is due. The function writes, but may be run again, as a query that only reads is.
select c.ran, c.written, c.pruned
from combine_links(coalesce(:now, now())) c;
