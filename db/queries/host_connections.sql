-- name: get(id)^
-- record_class: HostComponent
-- Return the host connection with this id.
select
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs
from host_connections hc
where hc.id = :id;

-- name: list_of_host(host_id, after, limit)
-- record_class: HostComponent
-- Return the host connections on a host, ordered by id, after a given one.
select
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs
from host_connections hc
where hc.host_id = :host_id and hc.id > :after
order by hc.id
limit :limit;

-- name: create(host_id, num, type, state, element_id, connection_id, attrs)<!
-- record_class: HostComponent
-- nullable: element_id, connection_id
-- Create a host connection.
insert into host_connections as hc (
  host_id, num, type, state, element_id, connection_id, attrs
)
values (
  :host_id, :num, :type, :state, :element_id, :connection_id, :attrs
)
returning
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs;

-- name: update(id, patch)^
-- record_class: HostComponent
-- Change the columns in the patch.
update host_connections hc set (
  num, element_id, connection_id, type, state
) = (
  select
    r.num, r.element_id, r.connection_id, r.type, r.state
  from jsonb_populate_record(hc, :patch) r
)
where hc.id = :id
returning
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update host_connections hc set attrs = (hc.attrs || :set::jsonb) - :remove::text[]
where hc.id = :id
returning hc.attrs;

-- name: record(id, state, type, set, remove)^
-- record_class: HostComponent
-- Store the host's report: state, type, and keys of attrs to be set and removed.
update host_connections hc set
  state = :state,
  type = :type,
  attrs = (hc.attrs || :set::jsonb) - :remove::text[]
where hc.id = :id
returning
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs;

-- name: delete(id)!
-- Delete a host connection.
delete from host_connections hc where hc.id = :id;

-- name: get_by_num(host_id, num)^
-- record_class: HostComponent
-- Return the component that a host knows by this number.
select
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs
from host_connections hc
where hc.host_id = :host_id and hc.num = :num;

-- name: list_of_element(element_id)
-- record_class: HostComponent
-- Return the components that serve the element, ordered by id.
select
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs
from host_connections hc
where hc.element_id = :element_id
order by hc.id;

-- name: list_of_connection(connection_id)
-- record_class: HostComponent
-- Return the components that serve the connection, ordered by id.
select
  hc.id, hc.host_id, hc.num, hc.element_id, hc.connection_id, hc.type, hc.state, hc.usage_id, hc.attrs
from host_connections hc
where hc.connection_id = :connection_id
order by hc.id;

-- name: list_uses_of_host(host_id, after, limit)
-- record_class: HostUse
-- Return the components on a host with their topologies, ordered by id, after a given one.
select
  hc.id, hc.num, hc.type, hc.state, hc.element_id, hc.connection_id, t.id as topology_id, t.name as topology_name
from host_connections hc
left join elements e on e.id = hc.element_id
left join connections c on c.id = hc.connection_id
left join topologies t on t.id = coalesce(e.topology_id, c.topology_id)
where hc.host_id = :host_id and hc.id > :after
order by hc.id
limit :limit;

-- name: claim_orphans(limit, lease)
-- record_class: OrphanClaim
-- Claim orphans, to remove them from their hosts: first those that were not tried yet, then those tried longest ago.
with due as materialized (
  select hc.id
  from host_connections hc
  where
    hc.element_id is null and hc.connection_id is null
    and coalesce(hc.orphan_lease_until, '-infinity') <= now()
  order by coalesce(hc.orphan_lease_until, '-infinity'), hc.id
  limit :limit
  for update skip locked
),

claimed as (
  update host_connections hc set orphan_lease_until = now() + :lease::interval
  where hc.id = any(array(select d.id from due d))
  returning hc.id, hc.host_id, hc.num, hc.type, hc.state, hc.attrs, hc.orphan_lease_until as lease_until
)

select c.id, c.host_id, h.name as host_name, h.rpcurl, c.num, c.type, c.state, c.attrs, c.lease_until
from claimed c
inner join hosts h on h.id = c.host_id
order by c.id;

-- name: extend_orphan(id, lease_until, lease)^
-- Let a lease on an orphan end that much later than now, unless it was lost.
update host_connections hc set orphan_lease_until = now() + :lease::interval
where hc.id = :id and hc.orphan_lease_until = :lease_until::timestamptz
returning hc.orphan_lease_until;

-- name: finish_orphan(id, lease_until)!
-- Delete an orphan that was removed from its host, unless the lease was lost or it serves something again.
delete from host_connections hc
where
  hc.id = :id and hc.orphan_lease_until = :lease_until::timestamptz and hc.element_id is null and hc.connection_id is null;

-- name: claim_refreshes(limit, lease, since)
-- record_class: RefreshClaim
-- optional: since
-- Claim components in use, to keep them alive on their hosts, those first that have been due, or were tried, for longest.
with due as materialized (
  select hc.id
  from host_connections hc
  where
    (hc.element_id is not null or hc.connection_id is not null)
    and greatest(hc.next_refresh_at, hc.refresh_lease_until) <= now()
    and greatest(hc.next_refresh_at, hc.refresh_lease_until) >= :since -- if: since
  order by greatest(hc.next_refresh_at, hc.refresh_lease_until)
  limit :limit
  for update skip locked
),

claimed as (
  update host_connections hc set refresh_lease_until = now() + :lease::interval
  where hc.id = any(array(select d.id from due d))
  returning
    hc.id, hc.host_id, hc.num, hc.type, hc.state, hc.next_refresh_at, hc.refresh_lease_until as lease_until
)

select c.id, c.host_id, h.name as host_name, h.rpcurl, c.num, c.type, c.state, c.next_refresh_at, c.lease_until
from claimed c
inner join hosts h on h.id = c.host_id
order by c.next_refresh_at, c.id;

-- name: extend_refresh(id, lease_until, lease)^
-- Let a lease on a component to be kept alive end that much later than now, unless it was lost.
update host_connections hc set refresh_lease_until = now() + :lease::interval
where hc.id = :id and hc.refresh_lease_until = :lease_until::timestamptz
returning hc.refresh_lease_until;

-- name: finish_refresh(id, lease_until)!
-- Record that a component was kept alive: due again in an hour, unless the lease was lost.
update host_connections hc set next_refresh_at = now() + interval '1 hour', refresh_lease_until = null
where hc.id = :id and hc.refresh_lease_until = :lease_until::timestamptz;
