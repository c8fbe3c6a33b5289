-- name: get(source, dump_id)^
-- record_class: FullErrorDump
-- The dump that a source knows by that id, with its data.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs, d.data
from error_dumps d
where d.source = :source and d.dump_id = :dump_id;

-- name: list(group_id, source, data_available, after_source, after_dump_id, limit)
-- record_class: ErrorDump
-- optional: group_id, source, data_available, after_source, after_dump_id
-- order: key = d.source, d.dump_id
-- All dumps, or those of a group, of a source, with or without data, without that data, by source and id.
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
-- The dumps of a group without their data, oldest first.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs
from error_dumps d
where d.group_id = :group_id
order by d.at, d.source, d.dump_id;

-- name: list_full_of_group(group_id)
-- record_class: FullErrorDump
-- The dumps of a group with their data, oldest first.
select
  d.source, d.dump_id, d.group_id, d.at, d.description, d.origin, d.software_version, d.data_available, d.attrs, d.data
from error_dumps d
where d.group_id = :group_id
order by d.at, d.source, d.dump_id;

-- name: store(source, dump_id, group, at, description, origin, software_version, data, data_available, attrs, group_text)$
-- nullable: data
-- Keep a dump that is not there yet; whether its group is new. A group that is there is locked, so that it can't go meanwhile.
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
-- Change the columns that the patch names.
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
-- Set some keys of attrs and remove others; the attrs that it has then.
update error_dumps d set attrs = (d.attrs || :set::jsonb) - :remove::text[]
where d.source = :source and d.dump_id = :dump_id
returning d.attrs;

-- name: delete(source, dump_id)!
-- Remove a dump; its group counts it. The group is locked first, as a new dump does it, so that the two can't deadlock.
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
