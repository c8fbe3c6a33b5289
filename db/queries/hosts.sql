-- name: get(id)^
-- record_class: Host
-- The host of that id.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.id = :id;

-- name: get_by_name(name)^
-- record_class: Host
-- The host of that name.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.name = :name;

-- name: list(after, limit)
-- record_class: Host
-- All hosts, by id, after that one.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.id > :after
order by h.id
limit :limit;

-- name: list_of_site(site_id, after, limit)
-- record_class: Host
-- The hosts of a site, by id, after that one.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.site_id = :site_id and h.id > :after
order by h.id
limit :limit;

-- name: create(name, address, rpcurl, site_id, enabled, description_text, attrs)<!
-- record_class: Host
-- A new host.
insert into hosts as h (
  name, address, rpcurl, site_id, enabled, description_text, attrs
)
values (
  :name, :address, :rpcurl, :site_id, :enabled, :description_text, :attrs
)
returning
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs;

-- name: update(name, patch)^
-- record_class: Host
-- Change the columns that the patch names.
update hosts h set (
  name, address, rpcurl, site_id, enabled, availability, component_errors, info, info_at, element_types,
  connection_types, networks, resources_synced_at, accounting_at, dumps_fetched_at, problem_since,
  problem_mailed_at, description_text
) = (
  select
    r.name, r.address, r.rpcurl, r.site_id, r.enabled, r.availability, r.component_errors, r.info, r.info_at,
    r.element_types, r.connection_types, r.networks, r.resources_synced_at, r.accounting_at,
    r.dumps_fetched_at, r.problem_since, r.problem_mailed_at, r.description_text
  from jsonb_populate_record(h, :patch) r
)
where h.name = :name
returning
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs;

-- name: set_attrs(name, set, remove)^
-- Set some keys of attrs and remove others; the attrs that it has then.
update hosts h set attrs = (h.attrs || :set::jsonb) - :remove::text[]
where h.name = :name
returning h.attrs;

-- name: delete(name)!
-- Remove a host.
delete from hosts h where h.name = :name;
