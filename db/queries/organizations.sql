-- name: get(id)^
-- record_class: Organization
-- Return the organization with this id.
select
  o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs
from organizations o
where o.id = :id;

-- name: get_by_name(name)^
-- record_class: Organization
-- Return the organization with this name.
select
  o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs
from organizations o
where o.name = :name;

-- name: list(after, limit)
-- record_class: Organization
-- Return all organizations, ordered by id, after a given one.
select
  o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs
from organizations o
where o.id > :after
order by o.id
limit :limit;

-- name: create(name, description, homepage_url, image_url, description_text, attrs)<!
-- record_class: Organization
-- Create an organization.
insert into organizations as o (
  name, description, homepage_url, image_url, description_text, attrs
)
values (
  :name, :description, :homepage_url, :image_url, :description_text, :attrs
)
returning
  o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs;

-- name: update(name, patch)^
-- record_class: Organization
-- Change the columns in the patch.
update organizations o set (
  name, description, homepage_url, image_url, description_text
) = (
  select
    r.name, r.description, r.homepage_url, r.image_url, r.description_text
  from jsonb_populate_record(o, :patch) r
)
where o.name = :name
returning
  o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs;

-- name: set_attrs(name, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update organizations o set attrs = (o.attrs || :set::jsonb) - :remove::text[]
where o.name = :name
returning o.attrs;

-- name: delete(name)!
-- Delete an organization.
delete from organizations o where o.name = :name;
