-- name: get(id)^
-- record_class: Element
-- Return the element with this id.
select
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs
from elements e
where e.id = :id;

-- name: other_end(id)^
-- record_class: Element
-- one row: a connection has two ends
-- Return the element at the other end of an element's connection.
select
  o.id, o.topology_id, o.type, o.state, o.parent_id, o.connection_id, o.host_element_id, o.site_id,
  o.template_id, o.profile_id, o.network_id, o.network_instance_id, o.rextfv_started_at, o.next_sync_at,
  o.usage_id, o.attrs
from elements e
inner join elements o on o.connection_id = e.connection_id and o.id <> e.id
where e.id = :id;

-- name: list_of_topology(topology_id, after, limit)
-- record_class: Element
-- Return the elements of a topology, ordered by id, after a given one.
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
-- one row: its triggers return the row
-- Create an element.
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
-- Change the columns in the patch.
update elements e set (
  state, host_element_id, site_id, template_id, profile_id, network_id, network_instance_id,
  rextfv_started_at, next_sync_at, sync_lease_until
) = (
  select
    r.state, r.host_element_id, r.site_id, r.template_id, r.profile_id, r.network_id, r.network_instance_id,
    r.rextfv_started_at, r.next_sync_at,
    case when not :patch::jsonb ?| array['rextfv_started_at', 'next_sync_at'] then e.sync_lease_until end
  from jsonb_populate_record(e, :patch) r
)
where e.id = :id
returning
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update elements e set attrs = (e.attrs || :set::jsonb) - :remove::text[]
where e.id = :id
returning e.attrs;

-- name: delete(id)!
-- Delete an element.
delete from elements e where e.id = :id;

-- name: list_children(parent_id)
-- record_class: Element
-- Return the children of an element, ordered by id.
select
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id, e.template_id,
  e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at, e.usage_id, e.attrs
from elements e
where e.parent_id = :parent_id
order by e.id;

-- name: create_many(topology_id, types, states, parents, sites, templates, profiles, networks, network_instances, attrs)
-- record_class: Element
-- nullable: parents, sites, templates, profiles, networks, network_instances
-- Create elements of a topology, in the order of the arrays.
insert into elements as e (
  topology_id, type, state, parent_id, site_id, template_id, profile_id, network_id, network_instance_id, attrs
)
select
  :topology_id, g.type, g.state, g.parent_id, g.site_id, g.template_id, g.profile_id, g.network_id,
  g.network_instance_id, g.attrs
from unnest(
    :types::text[], :states::text[], :parents::bigint[], :sites::bigint[], :templates::bigint[],
    :profiles::bigint[], :networks::bigint[], :network_instances::bigint[], :attrs::jsonb[]
  ) with ordinality g (
    type, state, parent_id, site_id, template_id, profile_id, network_id, network_instance_id, attrs, n
  )
order by g.n
returning
  e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
  e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
  e.usage_id, e.attrs;

-- name: set_state_in_topology(topology_id, state, types, states)
-- Set the state of a topology's elements that have given types and states, and return the ids of changed elements.
-- They are locked in order, so that two such statements cannot deadlock.
with held as materialized (
  select e.id
  from elements e
  where e.topology_id = :topology_id and e.type = any(:types) and e.state = any(:states) and e.state <> :state
  order by e.id
  for no key update
)

update elements e set state = :state
where e.id = any(array(select h.id from held h))
returning e.id;

-- name: set_state_of_tree(id, state)^
-- Set the state of an element and all its descendants, and return the ids of changed elements.
with recursive tree as (
  select e.id
  from elements e
  where e.id = :id
  union all
  select e.id
  from tree t
  inner join elements e on e.parent_id = t.id
),

held as materialized (
  select e.id
  from elements e
  where e.id = any(array(select t.id from tree t)) and e.state <> :state
  order by e.id
  for no key update
),

changed as (
  update elements e set state = :state
  where e.id = any(array(select h.id from held h))
  returning e.id
)

select (select coalesce(array_agg(c.id order by c.id), '{}') from changed c) as changed
from elements e
where e.id = :id;

-- name: start_sync(id)!
-- Start the synchronisation of a machine: the first is due in a second.
update elements e set rextfv_started_at = now(), next_sync_at = now() + interval '1 second', sync_lease_until = null
where e.id = :id and e.type in ('kvmqm', 'openvz', 'repy');

-- name: claim_syncs(limit, lease, since)
-- record_class: ElementSyncClaim
-- optional: since
-- not null: next_sync_at, lease_until
-- Claim machines that are due to be synchronised, those first that have been due, or were tried, for longest.
with due as materialized (
  select e.id
  from elements e
  where
    e.next_sync_at is not null and e.type in ('kvmqm', 'openvz', 'repy')
    and greatest(e.next_sync_at, e.sync_lease_until) <= now()
    and greatest(e.next_sync_at, e.sync_lease_until) >= :since -- if: since
  order by greatest(e.next_sync_at, e.sync_lease_until)
  limit :limit
  for update skip locked
),

claimed as (
  update elements e set sync_lease_until = now() + :lease::interval
  where e.id = any(array(select d.id from due d))
  returning
    e.id, e.topology_id, e.type, e.state, e.host_element_id, e.rextfv_started_at, e.next_sync_at, e.attrs,
    e.sync_lease_until as lease_until
)

select
  c.id, c.topology_id, c.type, c.state, c.host_element_id, he.num as host_element_num, h.name as host_name, h.rpcurl,
  c.rextfv_started_at, c.next_sync_at, c.attrs, c.lease_until
from claimed c
left join host_elements he on he.id = c.host_element_id
left join hosts h on h.id = he.host_id
order by c.next_sync_at, c.id;

-- name: extend_sync(id, lease_until, lease)^
-- not null: sync_lease_until
-- Let a lease on a machine end that much later than now, unless it was lost.
update elements e set sync_lease_until = now() + :lease::interval
where e.id = :id and e.sync_lease_until = :lease_until::timestamptz
returning e.sync_lease_until;

-- name: finish_sync(id, lease_until)!
-- Finish a synchronisation: the next is due after a 24th of the time since the start, and none after a day.
update elements e set
  next_sync_at = case
    when now() - e.rextfv_started_at < interval '1 day' then now() + (now() - e.rextfv_started_at) / 24
  end,
  sync_lease_until = null
where e.id = :id and e.sync_lease_until = :lease_until::timestamptz;
