-- name: get(id)^
-- record_class: Site
-- Return the site with this id.
select
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs
from sites s
where s.id = :id;

-- name: get_by_name(name)^
-- record_class: Site
-- Return the site with this name.
select
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs
from sites s
where s.name = :name;

-- name: list(organization_id, after, limit)
-- record_class: Site
-- optional: organization_id
-- Return all sites, or those of an organization, ordered by id, after a given one.
select
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs
from sites s
where
  s.id > :after
  and s.organization_id = :organization_id -- if: organization_id
order by s.id
limit :limit;

-- name: list_full(name, organization_id, after, limit)
-- record_class: FullSite
-- optional: name, organization_id
-- Return all sites, or one, or those of an organization, ordered by id, after a given one, each with the organization's name.
select
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs, o.name as organization_name
from sites s
inner join organizations o on o.id = s.organization_id
where
  s.id > :after
  and s.name = :name -- if: name
  and s.organization_id = :organization_id -- if: organization_id
order by s.id
limit :limit;

-- name: create(name, organization_id, description, location, longitude, latitude, description_text, attrs)<!
-- record_class: Site
-- nullable: longitude, latitude
-- Create a site.
insert into sites as s (
  name, organization_id, description, location, longitude, latitude, description_text, attrs
)
values (
  :name, :organization_id, :description, :location, :longitude, :latitude, :description_text, :attrs
)
returning
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs;

-- name: update(name, patch)^
-- record_class: Site
-- Change the columns in the patch.
update sites s set (
  name, organization_id, description, location, longitude, latitude, description_text
) = (
  select
    r.name, r.organization_id, r.description, r.location, r.longitude, r.latitude, r.description_text
  from jsonb_populate_record(s, :patch) r
)
where s.name = :name
returning
  s.id, s.name, s.organization_id, s.description, s.location, s.longitude, s.latitude, s.description_text,
  s.attrs;

-- name: set_attrs(name, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update sites s set attrs = (s.attrs || :set::jsonb) - :remove::text[]
where s.name = :name
returning s.attrs;

-- name: delete(name)!
-- Delete a site.
delete from sites s where s.name = :name;
