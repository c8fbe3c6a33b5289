-- name: get(id)^
-- record_class: Element
-- The element of that id.
select
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs
from elements e
where e.id = :id;

-- name: list_of_topology(topology_id, after, limit)
-- record_class: Element
-- The elements of a topology, by id, after that one.
select
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs
from elements e
where e.topology_id = :topology_id and e.id > :after
order by e.id
limit :limit;

-- name: create(topology_id, type, state, parent_id, site_id, template_id, profile_id, network_id, network_instance_id, attrs)<!
-- record_class: Element
-- nullable: parent_id, site_id, template_id, profile_id, network_id, network_instance_id
-- A new element.
insert into elements as e (
  topology_id, type, state, parent_id, site_id, template_id, profile_id, network_id, network_instance_id,
  attrs
)
values (
  :topology_id, :type, :state, :parent_id, :site_id, :template_id, :profile_id, :network_id,
  :network_instance_id, :attrs
)
returning
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs;

-- name: update(id, patch)^
-- record_class: Element
-- Change the columns that the patch names.
update elements e set (
  state, host_element_id, site_id, template_id, profile_id, network_id, network_instance_id,
  rextfv_started_at, next_sync_at
) = (
  select
    r.state, r.host_element_id, r.site_id, r.template_id, r.profile_id, r.network_id, r.network_instance_id,
    r.rextfv_started_at, r.next_sync_at
  from jsonb_populate_record(e, :patch) r
)
where e.id = :id
returning
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs;

-- name: set_attrs(id, set, remove)^
-- Set some keys of attrs and remove others; the attrs that it has then.
update elements e set attrs = (e.attrs || :set::jsonb) - :remove::text[]
where e.id = :id
returning e.attrs;

-- name: delete(id)!
-- Remove an element.
delete from elements e where e.id = :id;

-- name: list_children(parent_id)
-- record_class: Element
-- The children of an element, by id.
select
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id, e.template_id,
  e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at, e.usage_id, e.attrs
from elements e
where e.parent_id = :parent_id
order by e.id;
