-- Queries of bin/doctor on the work of workers: leases.

-- name: leases(grace, most)
-- Count, for each kind of work, up to :most leases that expired more than :grace seconds ago and were not claimed again.
select l.work, l.expired, extract(epoch from clock_timestamp() - l.oldest)::float8 as seconds
from (
  select 'hosts: updates' as work, count(*) as expired, min(x.until) as oldest
  from (
    select h.update_lease_until as until
    from public.hosts h
    where h.update_lease_until < clock_timestamp() - make_interval(secs => :grace) and h.enabled
    limit :most
  ) x
  union all
  select 'hosts: syncs of resources', count(*), min(x.until)
  from (
    select h.sync_lease_until as until
    from public.hosts h
    where h.sync_lease_until < clock_timestamp() - make_interval(secs => :grace) and h.enabled
    limit :most
  ) x
  union all
  select 'topologies: timeouts', count(*), min(x.until)
  from (
    select t.timeout_lease_until as until
    from public.topologies t
    where t.timeout_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
  union all
  select 'elements: syncs', count(*), min(x.until)
  from (
    select e.sync_lease_until as until
    from public.elements e
    where e.next_sync_at is not null and e.sync_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
  union all
  select 'host elements: orphans', count(*), min(x.until)
  from (
    select e.orphan_lease_until as until
    from public.host_elements e
    where
      e.element_id is null and e.connection_id is null
      and e.orphan_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
  union all
  select 'host elements: keep-alive', count(*), min(x.until)
  from (
    select e.refresh_lease_until as until
    from public.host_elements e
    where e.refresh_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
  union all
  select 'host connections: orphans', count(*), min(x.until)
  from (
    select c.orphan_lease_until as until
    from public.host_connections c
    where
      c.element_id is null and c.connection_id is null
      and c.orphan_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
  union all
  select 'host connections: keep-alive', count(*), min(x.until)
  from (
    select c.refresh_lease_until as until
    from public.host_connections c
    where c.refresh_lease_until < clock_timestamp() - make_interval(secs => :grace)
    limit :most
  ) x
) l
where l.expired > 0
order by l.expired desc, l.work;
