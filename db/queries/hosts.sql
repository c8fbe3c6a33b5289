-- name: get(id)^
-- record_class: Host
-- Return the host with this id.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.id = :id;

-- name: get_by_name(name)^
-- record_class: Host
-- Return the host with this name.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs
from hosts h
where h.name = :name;

-- name: list(site_id, organization_id, started_at, after_id, after_site, after_name, limit)
-- record_class: FullHost
-- optional: site_id, organization_id, after_id, after_site, after_name
-- nullable: started_at
-- order: id = h.id
-- order: name = st.name, h.name
-- not null: problems[]
-- Return all hosts, or those of a site or an organization, with problems and load, ordered by id or by site and name.
-- Problems are computed for the hosts of the page only.
with page as materialized (
  select h.id
  from hosts h
  inner join sites st on st.id = h.site_id
  where true
    and h.site_id = :site_id -- if: site_id
    and st.organization_id = :organization_id -- if: organization_id
    and (h.id) > (:after_id) -- after: id
    and (st.name, h.name) > (:after_site, :after_name) -- after: name
  order by h.id -- order
  limit :limit
)

select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs,
  s.problems, s.load, st.name as site_name, o.name as organization_name
from page p
inner join hosts h on h.id = p.id
inner join sites st on st.id = h.site_id
inner join organizations o on o.id = st.organization_id
cross join lateral host_status(h, :started_at) s
order by h.id -- order
limit :limit;

-- name: full(name, started_at)^
-- record_class: FullHost
-- nullable: started_at
-- not null: problems[]
-- Return the host with this name, its problems and load.
select
  h.id, h.name, h.address, h.rpcurl, h.site_id, h.enabled, h.availability, h.component_errors, h.info,
  h.info_at, h.element_types, h.connection_types, h.networks, h.resources_synced_at, h.accounting_at,
  h.dumps_fetched_at, h.problem_since, h.problem_mailed_at, h.description_text, h.usage_id, h.attrs,
  s.problems, s.load, st.name as site_name, o.name as organization_name
from hosts h
inner join sites st on st.id = h.site_id
inner join organizations o on o.id = st.organization_id
cross join lateral host_status(h, :started_at) s
where h.name = :name;

-- name: create(name, address, rpcurl, site_id, enabled, description_text, attrs)<!
-- record_class: Host
-- Create a host.
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
-- Change the columns in the patch.
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
-- Set and remove keys of attrs, and return the resulting attrs.
update hosts h set attrs = (h.attrs || :set::jsonb) - :remove::text[]
where h.name = :name
returning h.attrs;

-- name: delete(name)!
-- Delete a host.
delete from hosts h where h.name = :name;

-- name: candidates(site_id, element_types, connection_types, network_kinds, host_bonuses, site_bonuses, started_at, limit)
-- record_class: HostCandidate
-- optional: site_id
-- nullable: started_at
-- not null: load, score
-- Return hosts without problems, of all or of a site, that support everything asked for, best first. Bonuses are objects by id.
with candidates as materialized (
  select
    h.id, h.name, h.site_id, h.component_errors, s.load,
    (select count(*) from host_elements e where e.host_id = h.id) as elements,
    (select count(*) from host_connections c where c.host_id = h.id) as connections
  from hosts h
  cross join lateral host_status(h, :started_at) s
  where
    s.problems = '{}' and host_supports(h, :element_types, :connection_types, :network_kinds)
    and h.site_id = :site_id -- if: site_id
)

select
  c.id, c.name, c.site_id, c.load, c.elements, c.connections,
  host_score(
    c.component_errors, c.load, c.elements, avg(c.elements::double precision) over (),
    c.connections, avg(c.connections::double precision) over ()
  )
  + coalesce((:host_bonuses::jsonb ->> c.id::text)::double precision, 0)
  + coalesce((:site_bonuses::jsonb ->> c.site_id::text)::double precision, 0) as score
from candidates c
order by score desc, c.id
limit :limit;

-- name: update_availability(name, started_at)^
-- nullable: started_at
-- Update the columns that depend on a host's update, and return its availability.
update hosts h set (availability, component_errors, problem_since) = (
  select u.availability, u.component_errors, u.problem_since from host_after_update(h, :started_at) u
)
where h.name = :name
returning h.availability;

-- name: update_all_availabilities(started_at)!
-- nullable: started_at
-- Do the same for each enabled host. Hosts are locked in order, so that two such statements cannot deadlock.
with held as materialized (
  select h.id
  from hosts h
  where h.enabled
  order by h.id
  for no key update
)

update hosts h set (availability, component_errors, problem_since) = (
  select u.availability, u.component_errors, u.problem_since from host_after_update(h, :started_at) u
)
where h.id = any(array(select d.id from held d));

-- name: count_error(name)^
-- Count a failed request, and return the host's component errors.
update hosts h set component_errors = h.component_errors + 1
where h.name = :name
returning h.component_errors;

-- name: claim_updates(limit, lease, since)
-- record_class: HostUpdateClaim
-- optional: since
-- Claim hosts that are due for an update, those first that were not updated or tried for longest.
with due as materialized (
  select h.id
  from hosts h
  where
    h.enabled
    and coalesce(h.info_at, '-infinity') <= now() - (select seconds(s.host_update_interval) from settings s)
    and coalesce(greatest(h.info_at, h.update_lease_until), '-infinity') <= now()
    and coalesce(greatest(h.info_at, h.update_lease_until), '-infinity') >= :since -- if: since
  order by coalesce(greatest(h.info_at, h.update_lease_until), '-infinity')
  limit :limit
  for update skip locked
),

claimed as (
  update hosts h set update_lease_until = now() + :lease::interval
  where h.id = any(array(select d.id from due d))
  returning h.id, h.name, h.address, h.rpcurl, h.site_id, h.info_at, h.update_lease_until
)

select c.id, c.name, c.address, c.rpcurl, c.site_id, c.info_at, c.update_lease_until as lease_until
from claimed c
order by c.info_at nulls first, c.id;

-- name: extend_update(id, lease_until, lease)^
-- Let a lease on an update end that much later than now, unless it was lost.
update hosts h set update_lease_until = now() + :lease::interval
where h.id = :id and h.update_lease_until = :lease_until::timestamptz
returning h.update_lease_until;

-- name: finish_update(id, lease_until, info, query_time, time_diff, element_types, connection_types, networks)!
-- Store the result of an update and its measurements, unless the lease was lost.
update hosts h set
  info = case
    when jsonb_typeof(:info) <> 'object' then :info
    else
      :info::jsonb
      || jsonb_build_object('query_time', :query_time::double precision, 'time_diff', :time_diff::double precision)
  end,
  info_at = now(), element_types = :element_types, connection_types = :connection_types,
  networks = :networks, update_lease_until = null
where h.id = :id and h.update_lease_until = :lease_until::timestamptz;

-- name: claim_syncs(limit, lease, since)
-- record_class: HostSyncClaim
-- optional: since
-- Claim hosts whose resources are due to be synced, in the order of “claim_updates”.
with due as materialized (
  select h.id
  from hosts h
  where
    h.enabled
    and coalesce(h.resources_synced_at, '-infinity') <= now() - (select seconds(s.resource_sync_interval) from settings s)
    and coalesce(greatest(h.resources_synced_at, h.sync_lease_until), '-infinity') <= now()
    and coalesce(greatest(h.resources_synced_at, h.sync_lease_until), '-infinity') >= :since -- if: since
  order by coalesce(greatest(h.resources_synced_at, h.sync_lease_until), '-infinity')
  limit :limit
  for update skip locked
),

claimed as (
  update hosts h set sync_lease_until = now() + :lease::interval
  where h.id = any(array(select d.id from due d))
  returning h.id, h.name, h.address, h.rpcurl, h.site_id, h.resources_synced_at, h.sync_lease_until
)

select c.id, c.name, c.address, c.rpcurl, c.site_id, c.resources_synced_at, c.sync_lease_until as lease_until
from claimed c
order by c.resources_synced_at nulls first, c.id;

-- name: extend_sync(id, lease_until, lease)^
-- Let a lease on a sync of resources end that much later than now, unless it was lost.
update hosts h set sync_lease_until = now() + :lease::interval
where h.id = :id and h.sync_lease_until = :lease_until::timestamptz
returning h.sync_lease_until;

-- name: finish_sync(id, lease_until)!
-- Record that the resources were synced, unless the lease was lost.
update hosts h set resources_synced_at = now(), sync_lease_until = null
where h.id = :id and h.sync_lease_until = :lease_until::timestamptz;

-- name: claim_problem_notices(started_at, limit, lease)
-- record_class: ProblemNoticeClaim
-- nullable: started_at
-- not null: problems[], problem_since
-- Claim notices of problems and of their end, the oldest problem or attempt first.
with due as materialized (
  select h.id, n.kind, s.problems
  from hosts h
  cross join lateral host_status(h, :started_at) s
  cross join
    lateral (
      select case
        when s.problems = '{}' then case when h.problem_mailed_at >= h.problem_since then 'resolved' end
        when coalesce(h.problem_mailed_at < h.problem_since, true)
          then case when h.problem_since <= now() - interval '300 s' then 'announce' end
        when
          h.problem_since < now() - interval '6 h'
          and now() - h.problem_mailed_at >= h.problem_mailed_at - h.problem_since
          then 'again'
      end as kind
    ) n
  where
    h.enabled and h.problem_since is not null
    and greatest(h.problem_since, h.problem_lease_until) <= now()
    and n.kind is not null
  order by greatest(h.problem_since, h.problem_lease_until)
  limit :limit
  for update of h skip locked
),

claimed as (
  update hosts h set problem_lease_until = now() + :lease::interval
  from due d
  where h.id = d.id
  returning h.id, h.name, h.site_id, d.kind, d.problems, h.problem_since, h.problem_lease_until
)

select
  c.id as host_id, c.name as host_name, c.kind, c.problems, c.problem_since,
  (
    select coalesce(json_agg(u.contact order by u.id), '[]')
    from contacts u
    where
      u.flags @> array['global_host_contact']
      or (u.flags @> array['orga_host_contact'] and u.organization_id = s.organization_id)
  ) as recipients,
  c.problem_lease_until as lease_until
from claimed c
inner join sites s on s.id = c.site_id
order by c.problem_since, c.id;

-- name: extend_problem_notice(id, lease_until, lease)^
-- Let a lease on a notice end that much later than now, unless it was lost.
update hosts h set problem_lease_until = now() + :lease::interval
where h.id = :id and h.problem_lease_until = :lease_until::timestamptz
returning h.problem_lease_until;

-- name: finish_problem_notice(id, lease_until, kind)!
-- Record that a notice was sent, unless the lease was lost. If the problem ended meanwhile, the notice of its end is due now.
update hosts h set
  problem_since = case when :kind <> 'resolved' then coalesce(h.problem_since, now()) end,
  problem_mailed_at = now(), problem_lease_until = null
where h.id = :id and h.problem_lease_until = :lease_until::timestamptz;
