-- name: get(id)^
-- record_class: Topology
-- Return the topology with this id.
select
  t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs
from topologies t
where t.id = :id;

-- name: update(id, patch)^
-- record_class: Topology
-- Change the columns in the patch.
update topologies t set (
  name, site_id, timeout_at, timeout_step, timeout_lease_until
) = (
  select
    r.name, r.site_id, r.timeout_at, r.timeout_step,
    case when not :patch::jsonb ?| array['timeout_at', 'timeout_step'] then t.timeout_lease_until end
  from jsonb_populate_record(t, :patch) r
)
where t.id = :id
returning
  t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update topologies t set attrs = (t.attrs || :set::jsonb) - :remove::text[]
where t.id = :id
returning t.attrs;

-- name: delete(id)!
-- Delete a topology.
delete from topologies t where t.id = :id;

-- name: list(user_id, roles, organization_id, accessible_to, asking_user_id, after, limit)
-- record_class: ListedTopology
-- optional: user_id, roles, organization_id, accessible_to, asking_user_id
-- Return topologies, the newest first, with ids below a given one: all, or those on which a user has one of some explicit
-- roles or any effective role, or with an owner in an organization. Each has the asking user's role, the highest state, the
-- site's name, permissions, the ids of elements and connections, and current 5-minute usage. The ids of the page are an
-- array, so that the plan is made for few topologies, whatever the limit. Permissions are read once for the page. Two
-- things let the server keep one plan for all calls, as planning takes it a millisecond: roles are joined for an asking user
-- only, and ids have a lower bound, without which it would expect a plan for any limit to read a tenth of all topologies.
with page as (
  select t.id
  from topologies t
  where
    t.id < :after
    and t.id >= '-9223372036854775808'::bigint
    and t.id = any(array( -- if: user_id, roles
      select p.topology_id -- if: user_id, roles
      from topology_permissions p -- if: user_id, roles
      where p.user_id = :user_id and p.role = any(:roles::text[]) -- if: user_id, roles
    )) -- if: user_id, roles
    and t.id = any(array( -- if: organization_id
      select op.topology_id -- if: organization_id
      from users o -- if: organization_id
      inner join topology_permissions op on op.user_id = o.id and op.role = 'owner' -- if: organization_id
      where o.organization_id = :organization_id -- if: organization_id
    )) -- if: organization_id
    and t.id = any(array( -- if: accessible_to
      select a.topology_id -- if: accessible_to
      from accessible_topologies(:accessible_to, :after, :limit) a -- if: accessible_to
    )) -- if: accessible_to
  order by t.id desc
  limit :limit
),

own_permissions as (
  select
    p.topology_id,
    json_agg(
      json_build_array(
        p.topology_id, p.user_id, p.role, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags)
      )
      order by p.user_id
    ) as permissions
  from topology_permissions p
  inner join users u on u.id = p.user_id
  where p.topology_id = any(array(select g.id from page g))
  group by p.topology_id
)

select
  t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs, r.role, e.state, s.name as site_name,
  coalesce(p.permissions, '[]') as permissions,
  e.element_ids,
  array(select c.id from connections c where c.topology_id = t.id order by c.id) as connection_ids,
  (
    select
      json_build_array(
        n.usage_id, n.type, n.begin_at, n.end_at, n.measurements, n.memory, n.diskspace, n.traffic, n.cputime
      )
    from current_usage(t.usage_id) n
  ) as usage
from topologies t
left join sites s on s.id = t.site_id
left join topology_roles r
  on
    false
    or (r.topology_id = t.id and r.user_id = :asking_user_id) -- if: asking_user_id
left join own_permissions p on p.topology_id = t.id
cross join lateral element_summary(t.id) e
where t.id = any(array(select g.id from page g))
order by t.id desc;

-- name: create(name, user_id, site_id, attrs)<!
-- record_class: Topology
-- nullable: site_id
-- one row: its triggers return the row
-- Create a topology with its owner.
with made as (
  insert into topologies as t (name, site_id, attrs)
  values (:name, :site_id, :attrs)
  returning t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs
),

owner as (
  insert into topology_permissions (topology_id, user_id, role)
  select m.id, :user_id, 'owner'
  from made m
)

select m.id, m.name, m.site_id, m.timeout_at, m.timeout_step, m.usage_id, m.attrs
from made m;

-- name: renew(id, period)^
-- record_class: Topology
-- Set the timeout to a period from now, at most the longest one. If no time is left for a warning, none is sent.
update topologies t set
  (timeout_at, timeout_step) = (
    select
      least((now() + :period::interval)::instant, now() + seconds(s.topology_timeout_maximum)),
      case
        when least(:period::interval, seconds(s.topology_timeout_maximum)) <= seconds(s.topology_timeout_warning) then 9
        else 0
      end
    from settings s
  ),
  timeout_lease_until = null
where t.id = :id
returning t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs;

-- name: claim_timeouts(limit, lease)
-- record_class: TimeoutClaim
-- not null: lease_until
-- plan: those that are due are sorted, which are few
-- Claim topologies whose next timeout step is due, those first that have been due, or were tried, for longest. Each step
-- is due some time before or after the timeout.
with due as materialized (
  select t.id
  from (
    values
    (0, (select seconds(s.topology_timeout_warning) from settings s)),
    (9, interval '0'),
    (10, (select -seconds(s.topology_timeout_warning) from settings s))
  ) d (step, before)
  inner join topologies t on t.timeout_step = d.step and t.timeout_at <= now() + d.before
  where t.timeout_step < 20 and coalesce(t.timeout_lease_until, '-infinity') <= now()
  order by greatest(t.timeout_at - d.before, t.timeout_lease_until)
  limit :limit
  for update of t skip locked
),

claimed as (
  update topologies t set timeout_lease_until = now() + :lease::interval
  where t.id = any(array(select d.id from due d))
  returning t.id, t.name, t.timeout_at, t.timeout_step, t.timeout_lease_until as lease_until
)

select
  c.id, c.name, c.timeout_at, c.timeout_step,
  case c.timeout_step when 0 then 'warn' when 9 then 'stop' else 'destroy' end as action,
  (
    select
      coalesce(
        json_agg(
          json_build_array(u.id, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags), p.role) order by u.id
        ),
        '[]'
      )
    from topology_permissions p
    inner join users u on u.id = p.user_id
    where p.topology_id = c.id and p.role in ('manager', 'owner')
  ) as recipients,
  c.lease_until
from claimed c
order by c.timeout_at, c.id;

-- name: extend_timeout(id, lease_until, lease)^
-- not null: timeout_lease_until
-- Let a lease on a timeout end that much later than now, unless it was lost.
update topologies t set timeout_lease_until = now() + :lease::interval
where t.id = :id and t.timeout_lease_until = :lease_until::timestamptz
returning t.timeout_lease_until;

-- name: finish_timeout(id, lease_until)!
-- Set the next step of a timeout, unless the lease was lost or the timeout changed.
update topologies t set
  timeout_step = case t.timeout_step when 0 then 9 when 9 then 10 else 20 end,
  timeout_lease_until = null
where t.id = :id and t.timeout_lease_until = :lease_until::timestamptz;

-- name: contacts(id, roles)
-- record_class: TopologyContact
-- Return the users with one of these explicit roles on a topology, ordered by id, to notify them.
select u.id, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags) as nomails, p.role
from topology_permissions p
inner join users u on u.id = p.user_id
where p.topology_id = :id and p.role = any(:roles::text[])
order by u.id;

-- name: list_full(id, user_id, roles, organization_id, accessible_to, asking_user_id, started_at, after, limit)
-- record_class: FullTopology
-- optional: id, user_id, roles, organization_id, accessible_to, asking_user_id
-- nullable: started_at
-- Return the topology with an id, or those that “list” returns, with permissions, elements, connections and current
-- 5-minute usage. Each part is read once for the whole page, and each host's problems are computed once. Roles and the lower
-- bound of ids are as in “list”.
with page as (
  select t.id
  from topologies t
  where
    t.id < :after
    and t.id >= '-9223372036854775808'::bigint
    and t.id = :id -- if: id
    and t.id = any(array( -- if: user_id, roles
      select p.topology_id -- if: user_id, roles
      from topology_permissions p -- if: user_id, roles
      where p.user_id = :user_id and p.role = any(:roles::text[]) -- if: user_id, roles
    )) -- if: user_id, roles
    and t.id = any(array( -- if: organization_id
      select op.topology_id -- if: organization_id
      from users o -- if: organization_id
      inner join topology_permissions op on op.user_id = o.id and op.role = 'owner' -- if: organization_id
      where o.organization_id = :organization_id -- if: organization_id
    )) -- if: organization_id
    and t.id = any(array( -- if: accessible_to
      select a.topology_id -- if: accessible_to
      from accessible_topologies(:accessible_to, :after, :limit) a -- if: accessible_to
    )) -- if: accessible_to
  order by t.id desc
  limit :limit
),

own_elements as (
  select
    e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id, e.template_id,
    e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at, e.usage_id, e.attrs
  from elements e
  where e.topology_id = any(array(select g.id from page g))
),

own_connections as (
  select
    c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
    c.host_element2_id, c.usage_id, c.attrs,
    (
      select hc.host_id
      from host_connections hc
      where hc.id = coalesce(c.host_connection1_id, c.host_connection2_id)
    ) as host_id
  from connections c
  where c.topology_id = any(array(select g.id from page g))
),

running as (
  select e.id, x.host_id, x.attrs
  from own_elements e
  cross join
    lateral (
      select he.host_id, he.attrs
      from host_elements he
      where he.id = e.host_element_id
      offset 0 -- noqa: AM09
    ) x
),

own_hosts as (
  select
    h.id, h.site_id,
    json_build_array(
      h.id, h.name, h.address, h.site_id, s.name, p.problems,
      case when p.port between 1 and 65535 then p.port::integer end
    ) as host
  from hosts h
  inner join sites s on s.id = h.site_id
  cross join lateral host_status(h, :started_at) x
  cross join
    lateral (
      select
        host_number(h.info ->> 'fileserver_port') as port,
        array(select w.text from unnest(x.problems) w (text) where w.text is not null) as problems
    ) p
  where
    h.id = any(array(
      select r.host_id
      from running r
      union
      select c.host_id
      from own_connections c
    ))
),

preferred_templates as (
  select distinct on (tp.tech) tp.tech, tp.id
  from templates tp
  order by tp.tech, tp.preference desc, tp.id
),

preferred_profiles as (
  select distinct on (pf.tech) pf.tech, pf.id
  from profiles pf
  order by pf.tech, pf.preference desc, pf.id
),

ends as (
  select e.connection_id, min(e.id) as from_element_id, max(e.id) as to_element_id
  from own_elements e
  where e.connection_id is not null
  group by e.connection_id
),

full_elements as (
  select
    e.topology_id,
    json_agg(
      json_build_array(
        e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id,
        e.template_id, e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at,
        e.usage_id, e.attrs, r.attrs, h.host, tp.id, tp.name, pf.id, pf.name, pf.ram, pf.cpus, pf.diskspace
      )
      order by e.id
    ) as elements
  from own_elements e
  left join running r on r.id = e.id
  left join own_hosts h on h.id = r.host_id
  left join preferred_templates ptp on ptp.tech = e.type
  left join templates tp on tp.id = coalesce(e.template_id, ptp.id)
  left join preferred_profiles ppf on ppf.tech = e.type
  left join profiles pf on pf.id = coalesce(e.profile_id, ppf.id)
  group by e.topology_id
),

full_connections as (
  select
    c.topology_id,
    json_agg(
      json_build_array(
        c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
        c.host_element2_id, c.usage_id, c.attrs, n.from_element_id, n.to_element_id, h.host,
        (
          select
            coalesce(
              json_agg(
                json_build_array(
                  x.id, x.host_id, x.num, x.element_id, x.connection_id, x.type, x.state, x.usage_id, x.attrs, xh.name
                )
                order by x.id
              ),
              '[]'
            )
          from host_elements x
          inner join hosts xh on xh.id = x.host_id
          where x.connection_id = c.id or x.id in (c.host_element1_id, c.host_element2_id)
        ),
        (
          select
            coalesce(
              json_agg(
                json_build_array(
                  x.id, x.host_id, x.num, x.element_id, x.connection_id, x.type, x.state, x.usage_id, x.attrs, xh.name
                )
                order by x.id
              ),
              '[]'
            )
          from host_connections x
          inner join hosts xh on xh.id = x.host_id
          where x.connection_id = c.id or x.id in (c.host_connection1_id, c.host_connection2_id)
        )
      )
      order by c.id
    ) as connections
  from own_connections c
  inner join ends n on n.connection_id = c.id
  left join own_hosts h on h.id = c.host_id
  group by c.topology_id
)

select
  t.id, t.name, t.site_id, t.timeout_at, t.timeout_step, t.usage_id, t.attrs, r.role, x.state, s.name as site_name,
  (
    select
      coalesce(
        json_agg(
          json_build_array(
            p.topology_id, p.user_id, p.role, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags)
          )
          order by p.user_id
        ),
        '[]'
      )
    from topology_permissions p
    inner join users u on u.id = p.user_id
    where p.topology_id = t.id
  ) as permissions,
  coalesce(e.elements, '[]') as elements,
  coalesce(c.connections, '[]') as connections,
  (
    select
      json_build_array(
        n.usage_id, n.type, n.begin_at, n.end_at, n.measurements, n.memory, n.diskspace, n.traffic, n.cputime
      )
    from current_usage(t.usage_id) n
  ) as usage
from topologies t
left join sites s on s.id = t.site_id
left join topology_roles r
  on
    false
    or (r.topology_id = t.id and r.user_id = :asking_user_id) -- if: asking_user_id
cross join lateral element_summary(t.id) x
left join full_elements e on e.topology_id = t.id
left join full_connections c on c.topology_id = t.id
where t.id = any(array(select g.id from page g))
order by t.id desc;
