-- migrate:up

create table topologies (
  id bigint generated always as identity primary key,
  name text not null,
  site_id bigint references sites on delete set null,
  timeout_at instant not null default now() + interval '1 hour',
  timeout_step smallint not null default 9 constraint topologies_timeout_step_check check (timeout_step in (0, 9, 10, 20)),
  usage_id bigint default new_usage_id() unique references usage_statistics,
  timeout_lease_until instant,
  attrs jsonb not null default '{}' constraint topologies_attrs_check check (jsonb_typeof(attrs) = 'object')
);
create index topologies_site_id_idx on topologies (site_id);
create index topologies_timeout_idx on topologies (timeout_step, timeout_at);

create table topology_permissions (
  topology_id bigint not null references topologies on delete cascade,
  user_id bigint not null references users on delete cascade,
  role text not null constraint topology_permissions_role_check check (role in ('user', 'manager', 'owner')),
  primary key (topology_id, user_id)
);
create index topology_permissions_user_id_idx on topology_permissions (user_id, role);

-- A link between exactly two elements, which name it in their connection_id.
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

-- parent_type is what a parent must be, so that the foreign key checks it too.
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
create index elements_next_sync_at_idx on elements (next_sync_at) where next_sync_at is not null;

-- What a host really runs. When what it serves goes, it stays as an orphan that somebody must clean up on the host.
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
  attrs jsonb not null default '{}' constraint host_elements_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, num),
  constraint host_elements_element_id_check check (element_id is null or connection_id is null)
);
create index host_elements_element_id_idx on host_elements (element_id);
create index host_elements_connection_id_idx on host_elements (connection_id);
create index host_elements_orphan_idx on host_elements (id) where element_id is null and connection_id is null;

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
  attrs jsonb not null default '{}' constraint host_connections_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, num),
  constraint host_connections_element_id_check check (element_id is null or connection_id is null)
);
create index host_connections_element_id_idx on host_connections (element_id);
create index host_connections_connection_id_idx on host_connections (connection_id);
create index host_connections_orphan_idx on host_connections (id) where element_id is null and connection_id is null;

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

create trigger topologies_usage_removed after delete on topologies
referencing old table as removed for each statement execute function remove_usage();
create trigger connections_usage_removed after delete on connections
referencing old table as removed for each statement execute function remove_usage();
create trigger elements_usage_removed after delete on elements
referencing old table as removed for each statement execute function remove_usage();
create trigger host_elements_usage_removed after delete on host_elements
referencing old table as removed for each statement execute function remove_usage();
create trigger host_connections_usage_removed after delete on host_connections
referencing old table as removed for each statement execute function remove_usage();

-- migrate:down

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
drop table topology_permissions;
drop table topologies;
