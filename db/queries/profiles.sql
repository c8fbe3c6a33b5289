-- name: get(id)^
-- record_class: Profile
-- Return the profile with this id.
select
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs
from profiles pf
where pf.id = :id;

-- name: get_by_name(tech, name)^
-- record_class: Profile
-- Return the profile with this tech and name.
select
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs
from profiles pf
where pf.tech = :tech and pf.name = :name;

-- name: preferred(tech)^
-- record_class: Profile
-- Return the profile of a tech with the highest preference.
select
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs
from profiles pf
where pf.tech = :tech
order by pf.preference desc, pf.id
limit 1;

-- name: list(tech, after, limit)
-- record_class: Profile
-- optional: tech
-- Return all profiles, or those of a tech, ordered by id, after a given one.
select
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs
from profiles pf
where
  pf.id > :after
  and pf.tech = :tech -- if: tech
order by pf.id
limit :limit;

-- name: create(tech, name, preference, label, restricted, ram, cpus, diskspace, attrs)<!
-- record_class: Profile
-- nullable: ram, cpus, diskspace
-- Create a profile.
insert into profiles as pf (
  tech, name, preference, label, restricted, ram, cpus, diskspace, attrs
)
values (
  :tech, :name, :preference, :label, :restricted, :ram, :cpus, :diskspace, :attrs
)
returning
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs;

-- name: update(id, patch)^
-- record_class: Profile
-- Change the columns in the patch.
update profiles pf set (
  tech, name, preference, label, restricted, ram, cpus, diskspace
) = (
  select
    r.tech, r.name, r.preference, r.label, r.restricted, r.ram, r.cpus, r.diskspace
  from jsonb_populate_record(pf, :patch) r
)
where pf.id = :id
returning
  pf.id, pf.tech, pf.name, pf.preference, pf.label, pf.restricted, pf.ram, pf.cpus, pf.diskspace, pf.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update profiles pf set attrs = (pf.attrs || :set::jsonb) - :remove::text[]
where pf.id = :id
returning pf.attrs;

-- name: delete(id)!
-- Delete a profile.
delete from profiles pf where pf.id = :id;

-- name: create_defaults()!
-- Create a default profile for each tech without any profile.
insert into profiles (tech, name, label, preference, ram, cpus, diskspace)
select d.tech, 'normal', 'Normal', 10, d.ram, d.cpus, d.diskspace
from (
  values ('kvmqm', 512, 1, 10240), ('openvz', 512, null, 10240), ('repy', 50, 0.25, null)
) d (tech, ram, cpus, diskspace)
where not exists (select from profiles pf where pf.tech = d.tech)
on conflict (tech, name) do nothing;
