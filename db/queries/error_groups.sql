-- name: get(group_id)^
-- record_class: ErrorGroup
-- Return the group with this id.
select g.group_id, g.description, g.removed_dumps
from error_groups g
where g.group_id = :group_id;

-- name: list(after, limit)
-- record_class: ErrorGroup
-- nullable: after
-- Return all groups, ordered by id, after a given one (null: from the first, whose id may be empty).
select g.group_id, g.description, g.removed_dumps
from error_groups g
where g.group_id >= coalesce(:after, '') and g.group_id is distinct from :after
order by g.group_id
limit :limit;

-- name: summary(group_id)^
-- record_class: ErrorGroupSummary
-- one row: the view has one for each group
-- Return a group with a summary of its dumps.
select
  g.group_id, g.description, g.removed_dumps, g.count, g.last_at, g.sources, g.origins, g.versions, g.descriptions,
  g.data_available
from error_group_summaries g
where g.group_id = :group_id;

-- name: list_summaries(after, limit)
-- record_class: ErrorGroupSummary
-- nullable: after
-- Return all groups with summaries of their dumps, ordered by id, as “list” does.
select
  g.group_id, g.description, g.removed_dumps, g.count, g.last_at, g.sources, g.origins, g.versions, g.descriptions,
  g.data_available
from error_group_summaries g
where g.group_id >= coalesce(:after, '') and g.group_id is distinct from :after
order by g.group_id
limit :limit;

-- name: update(group_id, patch)^
-- record_class: ErrorGroup
-- Change the columns in the patch.
update error_groups g set (
  description
) = (
  select
    r.description
  from jsonb_populate_record(g, :patch) r
)
where g.group_id = :group_id
returning g.group_id, g.description, g.removed_dumps;

-- name: shrink(group_id)^
-- Drop all dumps of a group but its 5 oldest and 5 newest, and return how many. The group counts them.
with held as (
  select g.group_id
  from error_groups g
  where g.group_id = :group_id
  for no key update
),

dropped as (
  delete from error_dumps d
  using surplus_error_dumps s
  where exists (select from held) and s.group_id = :group_id and d.source = s.source and d.dump_id = s.dump_id
  returning d.dump_id
)

select (select count(*) from dropped) as dropped
from held;

-- name: delete(group_id)!
-- Delete a group that has no dumps.
delete from error_groups g where g.group_id = :group_id;
