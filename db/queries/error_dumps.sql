-- name: get(source, dump_id)^
-- record_class: FullErrorDump
-- Return the dump of a source with this id, with its data.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs, d.data
from error_dumps d
where d.source = :source and d.dump_id = :dump_id;

-- name: list(group_id, source, data_available, after_source, after_dump_id, limit)
-- record_class: ErrorDump
-- optional: group_id, source, data_available, after_source, after_dump_id
-- order: key = d.source, d.dump_id
-- Return dumps without their data, ordered by source and id; optionally those of a group or a source, or with data.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs
from error_dumps d
where true
  and d.group_id = :group_id -- if: group_id
  and d.source = :source -- if: source
  and d.data_available = :data_available -- if: data_available
  and (d.source, d.dump_id) > (:after_source, :after_dump_id) -- after: key
order by d.source, d.dump_id -- order
limit :limit;

-- name: list_of_group(group_id)
-- record_class: ErrorDump
-- Return the dumps of a group without their data, the oldest first.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs
from error_dumps d
where d.group_id = :group_id
order by d.at, d.source, d.dump_id;

-- name: list_full_of_group(group_id)
-- record_class: FullErrorDump
-- Return the dumps of a group with their data, the oldest first.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs, d.data
from error_dumps d
where d.group_id = :group_id
order by d.at, d.source, d.dump_id;

-- name: store(source, dump_id, group, at, description, origin, software_version, data, data_available, attrs, group_text)$
-- nullable: data
-- Store a new dump, and return whether its group is new. An existing group is locked, so that it cannot be deleted now.
with stored as (
  insert into error_dumps as d (
    source, dump_id, group_id, at, description, origin, software_version, data, data_available, attrs
  )
  values (
    :source, :dump_id, :group, :at::timestamptz, :description, :origin, :software_version, :data, :data_available, :attrs
  )
  on conflict (source, dump_id) do nothing
  returning d.group_id
),

new_group as (
  insert into error_groups as g (group_id, description)
  select s.group_id, :group_text
  from stored s
  on conflict (group_id) do update set description = g.description where false
  returning g.group_id
)

select exists(select from new_group) as is_new;

-- name: update(source, dump_id, patch)^
-- record_class: ErrorDump
-- Change the columns in the patch.
update error_dumps d set (
  description, origin, software_version, data, data_available
) = (
  select
    r.description, r.origin, r.software_version, r.data, r.data_available
  from jsonb_populate_record(d, :patch) r
)
where d.source = :source and d.dump_id = :dump_id
returning
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs;

-- name: set_attrs(source, dump_id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update error_dumps d set attrs = (d.attrs || :set::jsonb) - :remove::text[]
where d.source = :source and d.dump_id = :dump_id
returning d.attrs;

-- name: delete(source, dump_id)!
-- Delete a dump; its group counts it. The group is locked first, as by a new dump, so that the two cannot deadlock.
with held as (
  select d.source, d.dump_id
  from error_dumps d
  inner join error_groups g on g.group_id = d.group_id
  where d.source = :source and d.dump_id = :dump_id
  for no key update of g
)

delete from error_dumps d
using held h
where d.source = h.source and d.dump_id = h.dump_id;
