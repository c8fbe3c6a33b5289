-- name: combine(now)<!
-- record_class: CombinedLinks
-- nullable: now
-- not null: ran, written, pruned
-- repeatable: what is combined already is not due again
-- Combine all due measurements, and prune.
select c.ran, c.written, c.pruned
from combine_links(coalesce(:now, now())) c;
