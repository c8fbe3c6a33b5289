-- migrate:up

-- When a new topology times out.
create function initial_timeout() returns timestamptz language sql stable
begin atomic
  select now() + seconds(s.topology_timeout_initial)
  from settings s;
end;

create table topologies (
  id bigint generated always as identity primary key,
  name text not null,
  site_id bigint references sites on delete set null,
  timeout_at instant not null default initial_timeout(),
  timeout_step smallint not null default 9 constraint topologies_timeout_step_check check (timeout_step in (0, 9, 10, 20)),
  usage_id bigint default new_usage_id() unique references usage_statistics,
  timeout_lease_until instant,
  attrs jsonb not null default '{}' constraint topologies_attrs_check check (jsonb_typeof(attrs) = 'object')
);
create index topologies_site_id_idx on topologies (site_id);

-- The topologies whose next step is due, which depends on the settings. Partial: one whose last step is done has none.
create index topologies_timeout_at_idx on topologies (timeout_step, timeout_at) where timeout_step < 20;

-- The usage identity of a removed topology goes with it.
create trigger topologies_usage_removed
after delete on topologies
referencing old table as removed
for each statement
execute function remove_usage();

create table topology_permissions (
  topology_id bigint not null references topologies on delete cascade,
  user_id bigint not null references users on delete cascade,
  role text not null constraint topology_permissions_role_check check (role in ('user', 'manager', 'owner')),
  primary key (topology_id, user_id)
);
create index topology_permissions_user_id_idx on topology_permissions (user_id, role);

-- The role that each user effectively has on each topology, null for none: the highest of a global flag, the explicit
-- permission, and an organization flag if an owner of the topology is of the user's organization. The offset makes the
-- planner look for the owners of the topology in question; for many users it would else gather the owners of all topologies
-- first.
create view topology_roles as
select
  t.id as topology_id,
  u.id as user_id,
  p.role as explicit_role,
  (array['user', 'manager', 'owner'])[
    greatest(
      case
        when 'global_topl_owner' = any(u.flags) then 3
        when 'global_topl_manager' = any(u.flags) then 2
        when 'global_topl_user' = any(u.flags) then 1
      end,
      array_position(array['user', 'manager', 'owner'], p.role),
      case
        when not u.flags && array['orga_topl_owner', 'orga_topl_manager', 'orga_topl_user'] then null
        when not exists (
            select
            from topology_permissions op
            inner join users o on o.id = op.user_id
            where op.topology_id = t.id and op.role = 'owner' and o.organization_id = u.organization_id
            offset 0 -- noqa: AM09
          ) then null
        when 'orga_topl_owner' = any(u.flags) then 3
        when 'orga_topl_manager' = any(u.flags) then 2
        else 1
      end
    )
  ] as role
from topologies t
cross join users u
left join topology_permissions p on p.topology_id = t.id and p.user_id = u.id;

-- A connection links exactly two elements, which name it in their connection_id.
create table connections (
  id bigint generated always as identity primary key,
  topology_id bigint not null references topologies on delete cascade,
  type text not null default 'bridge',
  state text not null default 'created' constraint connections_state_check check (state in ('created', 'started')),
  host_connection1_id bigint,
  host_connection2_id bigint,
  host_element1_id bigint,
  host_element2_id bigint,
  usage_id bigint default new_usage_id() unique references usage_statistics,
  attrs jsonb not null default '{}' constraint connections_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (topology_id, id)
);

-- The usage identity of a removed connection goes with it.
create trigger connections_usage_removed
after delete on connections
referencing old table as removed
for each statement
execute function remove_usage();

-- parent_type is the type that the element's parent must have, so that the foreign key checks it too.
create table elements (
  id bigint generated always as identity primary key,
  topology_id bigint not null references topologies on delete cascade,
  type text not null constraint elements_type_check check (
    type in (
      'kvmqm', 'kvmqm_interface', 'openvz', 'openvz_interface', 'repy', 'repy_interface', 'tinc_vpn', 'tinc_endpoint',
      'external_network', 'external_network_endpoint', 'udp_endpoint'
    )
  ),
  state text not null default 'created' constraint elements_state_check check (
    state in ('created', 'prepared', 'started') or (state = 'default' and type = 'external_network_endpoint')
  ),
  parent_id bigint,
  parent_type text generated always as (
    case type
      when 'kvmqm_interface' then 'kvmqm'
      when 'openvz_interface' then 'openvz'
      when 'repy_interface' then 'repy'
      when 'tinc_endpoint' then 'tinc_vpn'
      when 'external_network_endpoint' then 'external_network'
    end
  ) stored,
  connection_id bigint constraint elements_connection_id_check check (
    connection_id is null or type in (
      'kvmqm_interface', 'openvz_interface', 'repy_interface', 'tinc_endpoint', 'external_network_endpoint', 'udp_endpoint'
    )
  ),
  host_element_id bigint,
  site_id bigint references sites on delete set null,
  template_id bigint references templates on delete set null,
  profile_id bigint references profiles on delete set null,
  network_id bigint references networks on delete set null,
  network_instance_id bigint references network_instances on delete set null,
  rextfv_started_at instant,
  next_sync_at instant,
  usage_id bigint default new_usage_id() unique references usage_statistics,
  sync_lease_until instant,
  attrs jsonb not null default '{}' constraint elements_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (topology_id, id, type),
  constraint elements_parent_id_check check (
    case
      when type in ('kvmqm_interface', 'openvz_interface', 'repy_interface') then parent_id is not null
      when type in ('tinc_endpoint', 'external_network_endpoint') then true
      else parent_id is null
    end
  ),
  constraint elements_parent_id_fkey foreign key (topology_id, parent_id, parent_type)
  references elements (topology_id, id, type) on delete cascade,
  constraint elements_connection_id_fkey foreign key (topology_id, connection_id)
  references connections (topology_id, id) on delete set null (connection_id)
);
create index elements_parent_id_idx on elements (parent_id, topology_id, parent_type);
create index elements_connection_id_idx on elements (connection_id, topology_id);
create index elements_host_element_id_idx on elements (host_element_id);
create index elements_site_id_idx on elements (site_id);
create index elements_template_id_idx on elements (template_id);
create index elements_profile_id_idx on elements (profile_id);
create index elements_network_id_idx on elements (network_id);
create index elements_network_instance_id_idx on elements (network_instance_id);

-- Elements in the order in which they are claimed for a sync: by when it is due, and after a claim without success when its
-- lease ended. Partial: most elements never have a sync due.
create index elements_sync_turn_idx
on elements (greatest(next_sync_at, sync_lease_until)) where next_sync_at is not null;

-- The usage identity of a removed element goes with it.
create trigger elements_usage_removed
after delete on elements
referencing old table as removed
for each statement
execute function remove_usage();

-- The elements that hosts really run. When the element or connection that one serves is removed, it stays as an orphan,
-- which a worker must still remove from the host.
create table host_elements (
  id bigint generated always as identity primary key,
  host_id bigint not null references hosts,
  num bigint not null,
  element_id bigint references elements on delete set null,
  connection_id bigint references connections on delete set null,
  type text not null,
  state text not null,
  usage_id bigint default new_usage_id() unique references usage_statistics,
  orphan_lease_until instant,
  next_refresh_at instant not null default 'epoch',
  refresh_lease_until instant,
  attrs jsonb not null default '{}' constraint host_elements_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, num),
  constraint host_elements_element_id_check check (element_id is null or connection_id is null)
);
create index host_elements_element_id_idx on host_elements (element_id);
create index host_elements_connection_id_idx on host_elements (connection_id);

-- The elements on a host, page by page.
create index host_elements_host_id_idx on host_elements (host_id, id);

-- Orphans in the order in which they are claimed for removal: those that no worker has tried come first. Partial: nearly all
-- host elements serve something.
create index host_elements_orphan_turn_idx
on host_elements (coalesce(orphan_lease_until, '-infinity'), id) where element_id is null and connection_id is null;

-- Host elements in the order in which they are claimed to be kept alive. What is new is due at once: since 1970, not since
-- now(), or two loads of one file would differ. Partial: an orphan is to go, and is not kept alive.
create index host_elements_refresh_turn_idx
on host_elements (greatest(next_refresh_at, refresh_lease_until)) where element_id is not null or connection_id is not null;

-- The usage identity of a removed host element goes with it.
create trigger host_elements_usage_removed
after delete on host_elements
referencing old table as removed
for each statement
execute function remove_usage();

-- The connections that hosts really run; orphans as above.
create table host_connections (
  id bigint generated always as identity primary key,
  host_id bigint not null references hosts,
  num bigint not null,
  element_id bigint references elements on delete set null,
  connection_id bigint references connections on delete set null,
  type text not null,
  state text not null,
  usage_id bigint default new_usage_id() unique references usage_statistics,
  orphan_lease_until instant,
  next_refresh_at instant not null default 'epoch',
  refresh_lease_until instant,
  attrs jsonb not null default '{}' constraint host_connections_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, num),
  constraint host_connections_element_id_check check (element_id is null or connection_id is null)
);
create index host_connections_element_id_idx on host_connections (element_id);
create index host_connections_connection_id_idx on host_connections (connection_id);

-- The connections on a host, page by page.
create index host_connections_host_id_idx on host_connections (host_id, id);

-- Orphans in the order in which they are claimed for removal. Partial: nearly all host connections serve something.
create index host_connections_orphan_turn_idx
on host_connections (coalesce(orphan_lease_until, '-infinity'), id) where element_id is null and connection_id is null;

-- Host connections in the order in which they are claimed to be kept alive. Partial: an orphan is to go, and is not kept alive.
create index host_connections_refresh_turn_idx
on host_connections (greatest(next_refresh_at, refresh_lease_until)) where element_id is not null or connection_id is not null;

-- The usage identity of a removed host connection goes with it.
create trigger host_connections_usage_removed
after delete on host_connections
referencing old table as removed
for each statement
execute function remove_usage();

-- References to tables that were made later than the one that refers.
alter table elements
add constraint elements_host_element_id_fkey
foreign key (host_element_id) references host_elements on delete set null;
alter table connections
add constraint connections_host_connection1_id_fkey
foreign key (host_connection1_id) references host_connections on delete set null,
add constraint connections_host_connection2_id_fkey
foreign key (host_connection2_id) references host_connections on delete set null,
add constraint connections_host_element1_id_fkey
foreign key (host_element1_id) references host_elements on delete set null,
add constraint connections_host_element2_id_fkey
foreign key (host_element2_id) references host_elements on delete set null;
create index connections_host_connection1_id_idx on connections (host_connection1_id);
create index connections_host_connection2_id_idx on connections (host_connection2_id);
create index connections_host_element1_id_idx on connections (host_element1_id);
create index connections_host_element2_id_idx on connections (host_element2_id);

-- The ids of a topology's elements and the highest of their states, “created” if none is prepared or started. Several queries
-- share it, and the planner merges it into each.
create function element_summary(of_topology_id bigint) returns table (state text, element_ids bigint[])
language sql stable rows 1
begin atomic
  select
    case
      when bool_or(e.state = 'started') then 'started'
      when bool_or(e.state = 'prepared') then 'prepared'
      else 'created'
    end,
    coalesce(array_agg(e.id order by e.id), '{}')
  from elements e
  where e.topology_id = of_topology_id;
end;

-- The topologies with an id below “before” on which a user has a role, as in topology_roles, from where the role comes. A
-- global flag gives a role on all topologies: of those it is only the newest, at most as many as the caller takes.
create function accessible_topologies(to_user_id bigint, before bigint, at_most bigint)
returns table (topology_id bigint) language sql stable
begin atomic
  select g.id
  from (
    select t.id
    from topologies t
    where
      t.id < before
      and exists (
        select
        from users u
        where u.id = to_user_id and u.flags && array['global_topl_owner', 'global_topl_manager', 'global_topl_user']
      )
    order by t.id desc
    limit at_most
  ) g
  union all
  select p.topology_id
  from topology_permissions p
  where p.user_id = to_user_id and p.topology_id < before
  union all
  select op.topology_id
  from users u
  inner join users o on o.organization_id = u.organization_id
  inner join topology_permissions op on op.user_id = o.id and op.role = 'owner'
  where
    u.id = to_user_id and u.flags && array['orga_topl_owner', 'orga_topl_manager', 'orga_topl_user']
    and op.topology_id < before;
end;

-- The two elements that a connection links, shared in the same way.
create function connection_ends(of_connection_id bigint) returns table (from_element_id bigint, to_element_id bigint)
language sql stable rows 1
begin atomic
  select min(e.id), max(e.id)
  from elements e
  where e.connection_id = of_connection_id;
end;

-- migrate:down

drop function connection_ends(bigint);
drop function accessible_topologies(bigint, bigint, bigint);
drop function element_summary(bigint);
alter table connections
drop constraint connections_host_element2_id_fkey,
drop constraint connections_host_element1_id_fkey,
drop constraint connections_host_connection2_id_fkey,
drop constraint connections_host_connection1_id_fkey;
alter table elements drop constraint elements_host_element_id_fkey;
drop table host_connections;
drop table host_elements;
drop table elements;
drop table connections;
drop view topology_roles;
drop table topology_permissions;
drop table topologies;
drop function initial_timeout();
