-- name: get(id)^
-- record_class: HostComponent
-- Return the host element with this id.
select
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs
from host_elements he
where he.id = :id;

-- name: list_of_host(host_id, after, limit)
-- record_class: HostComponent
-- Return the components on a host, ordered by id, after a given one.
select
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs
from host_elements he
where he.host_id = :host_id and he.id > :after
order by he.id
limit :limit;

-- name: create(host_id, num, type, state, element_id, connection_id, attrs)<!
-- record_class: HostComponent
-- nullable: element_id, connection_id
-- Create a host element.
insert into host_elements as he (
  host_id, num, type, state, element_id, connection_id, attrs
)
values (
  :host_id, :num, :type, :state, :element_id, :connection_id, :attrs
)
returning
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs;

-- name: update(id, patch)^
-- record_class: HostComponent
-- Change the columns in the patch.
update host_elements he set (
  num, element_id, connection_id, type, state
) = (
  select
    r.num, r.element_id, r.connection_id, r.type, r.state
  from jsonb_populate_record(he, :patch) r
)
where he.id = :id
returning
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update host_elements he set attrs = (he.attrs || :set::jsonb) - :remove::text[]
where he.id = :id
returning he.attrs;

-- name: record(id, state, type, set, remove)^
-- record_class: HostComponent
-- Store the host's report: state, type, and keys of attrs to be set and removed.
update host_elements he set
  state = :state,
  type = :type,
  attrs = (he.attrs || :set::jsonb) - :remove::text[]
where he.id = :id
returning
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs;

-- name: delete(id)!
-- Delete a host element.
delete from host_elements he where he.id = :id;

-- name: get_by_num(host_id, num)^
-- record_class: HostComponent
-- Return the component that a host knows by this number.
select
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs
from host_elements he
where he.host_id = :host_id and he.num = :num;

-- name: list_of_element(element_id)
-- record_class: HostComponent
-- Return the components that serve the element, ordered by id.
select
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs
from host_elements he
where he.element_id = :element_id
order by he.id;

-- name: list_of_connection(connection_id)
-- record_class: HostComponent
-- Return the components that serve the connection, ordered by id.
select
  he.id, he.host_id, he.num, he.element_id, he.connection_id, he.type, he.state, he.usage_id, he.attrs
from host_elements he
where he.connection_id = :connection_id
order by he.id;

-- name: list_uses_of_host(host_id, after, limit)
-- record_class: HostUse
-- Return the components on a host with their topologies, ordered by id, after a given one.
select
  he.id, he.num, he.type, he.state, he.element_id, he.connection_id, t.id as topology_id, t.name as topology_name
from host_elements he
left join elements e on e.id = he.element_id
left join connections c on c.id = he.connection_id
left join topologies t on t.id = coalesce(e.topology_id, c.topology_id)
where he.host_id = :host_id and he.id > :after
order by he.id
limit :limit;

-- name: claim_orphans(limit, lease)
-- record_class: OrphanClaim
-- Claim orphans, to remove them from their hosts: first those that were not tried yet, then those tried longest ago.
with due as materialized (
  select he.id
  from host_elements he
  where
    he.element_id is null and he.connection_id is null
    and coalesce(he.orphan_lease_until, '-infinity') <= now()
  order by coalesce(he.orphan_lease_until, '-infinity'), he.id
  limit :limit
  for update skip locked
),

claimed as (
  update host_elements he set orphan_lease_until = now() + :lease::interval
  where he.id = any(array(select d.id from due d))
  returning he.id, he.host_id, he.num, he.type, he.state, he.attrs, he.orphan_lease_until as lease_until
)

select c.id, c.host_id, h.name as host_name, h.rpcurl, c.num, c.type, c.state, c.attrs, c.lease_until
from claimed c
inner join hosts h on h.id = c.host_id
order by c.id;

-- name: extend_orphan(id, lease_until, lease)^
-- Let a lease on an orphan end that much later than now, unless it was lost.
update host_elements he set orphan_lease_until = now() + :lease::interval
where he.id = :id and he.orphan_lease_until = :lease_until::timestamptz
returning he.orphan_lease_until;

-- name: finish_orphan(id, lease_until)!
-- Delete an orphan that was removed from its host, unless the lease was lost or it serves something again.
delete from host_elements he
where
  he.id = :id and he.orphan_lease_until = :lease_until::timestamptz and he.element_id is null and he.connection_id is null;

-- name: claim_refreshes(limit, lease, since)
-- record_class: RefreshClaim
-- optional: since
-- Claim components in use, to keep them alive on their hosts, those first that have been due, or were tried, for longest.
with due as materialized (
  select he.id
  from host_elements he
  where
    (he.element_id is not null or he.connection_id is not null)
    and greatest(he.next_refresh_at, he.refresh_lease_until) <= now()
    and greatest(he.next_refresh_at, he.refresh_lease_until) >= :since -- if: since
  order by greatest(he.next_refresh_at, he.refresh_lease_until)
  limit :limit
  for update skip locked
),

claimed as (
  update host_elements he set refresh_lease_until = now() + :lease::interval
  where he.id = any(array(select d.id from due d))
  returning
    he.id, he.host_id, he.num, he.type, he.state, he.next_refresh_at, he.refresh_lease_until as lease_until
)

select c.id, c.host_id, h.name as host_name, h.rpcurl, c.num, c.type, c.state, c.next_refresh_at, c.lease_until
from claimed c
inner join hosts h on h.id = c.host_id
order by c.next_refresh_at, c.id;

-- name: extend_refresh(id, lease_until, lease)^
-- Let a lease on a component to be kept alive end that much later than now, unless it was lost.
update host_elements he set refresh_lease_until = now() + :lease::interval
where he.id = :id and he.refresh_lease_until = :lease_until::timestamptz
returning he.refresh_lease_until;

-- name: finish_refresh(id, lease_until)!
-- Record that a component was kept alive: due again in an hour, unless the lease was lost.
update host_elements he set next_refresh_at = now() + interval '1 hour', refresh_lease_until = null
where he.id = :id and he.refresh_lease_until = :lease_until::timestamptz;
