-- migrate:up

-- A *_lease_until column is a claim: until then the row is somebody's work (one column per kind of work).
create table hosts (
  id bigint generated always as identity primary key,
  name text not null unique constraint hosts_name_check check (length(name) <= 255 and name !~ '/'),
  address text not null,
  rpcurl text not null unique,
  site_id bigint not null references sites,
  enabled boolean not null default true,
  availability double precision not null default 1 constraint hosts_availability_check check (availability between 0 and 1),
  component_errors integer not null default 0 constraint hosts_component_errors_check check (component_errors >= 0),
  info jsonb not null default '{}',
  info_at instant,
  element_types jsonb not null default '{}',
  connection_types jsonb not null default '{}',
  networks jsonb not null default '[]',
  resources_synced_at instant,
  accounting_at instant,
  dumps_fetched_at instant,
  problem_since instant,
  problem_mailed_at instant,
  description_text text not null default '',
  usage_id bigint default new_usage_id() unique references usage_statistics,
  sync_lease_until instant,
  problem_lease_until instant,
  attrs jsonb not null default '{}' constraint hosts_attrs_check check (jsonb_typeof(attrs) = 'object')
);
create index hosts_site_id_idx on hosts (site_id);
create index hosts_sync_due_idx on hosts (resources_synced_at) where enabled;
create index hosts_problem_since_idx on hosts (problem_since) where problem_since is not null;

create trigger hosts_usage_removed after delete on hosts
referencing old table as removed for each statement execute function remove_usage();

create table templates (
  id bigint generated always as identity primary key,
  tech text not null constraint templates_tech_check check (tech in ('kvmqm', 'openvz', 'repy')),
  name text not null,
  preference integer not null default 0,
  label text not null default '',
  subtype text not null default '',
  restricted boolean not null default false,
  kblang text not null default 'en-us',
  torrent_data text not null default '',
  attrs jsonb not null default '{}' constraint templates_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (tech, name)
);
create index templates_preference_idx on templates (tech, preference desc, id);

create table profiles (
  id bigint generated always as identity primary key,
  tech text not null constraint profiles_tech_check check (tech in ('kvmqm', 'openvz', 'repy')),
  name text not null,
  preference integer not null default 0,
  label text not null default '',
  restricted boolean not null default false,
  ram double precision constraint profiles_ram_check check (ram between 0 and 'infinity'),
  cpus double precision constraint profiles_cpus_check check (cpus between 0 and 'infinity'),
  diskspace double precision constraint profiles_diskspace_check check (diskspace between 0 and 'infinity'),
  attrs jsonb not null default '{}' constraint profiles_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (tech, name)
);
create index profiles_preference_idx on profiles (tech, preference desc, id);

create table networks (
  id bigint generated always as identity primary key,
  kind text not null unique,
  preference integer not null default 0,
  label text not null default '',
  restricted boolean not null default false,
  attrs jsonb not null default '{}' constraint networks_attrs_check check (jsonb_typeof(attrs) = 'object')
);

create table network_instances (
  id bigint generated always as identity primary key,
  network_id bigint references networks on delete set null,
  host_id bigint not null references hosts on delete cascade,
  bridge text not null,
  attrs jsonb not null default '{}' constraint network_instances_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, bridge)
);
create index network_instances_network_id_idx on network_instances (network_id);

create table templates_on_hosts (
  host_id bigint not null references hosts on delete cascade,
  template_id bigint not null references templates on delete cascade,
  ready boolean not null default false,
  changed_at instant not null default now(),
  primary key (host_id, template_id)
);
create index templates_on_hosts_template_id_idx on templates_on_hosts (template_id, ready);

-- migrate:down

drop table templates_on_hosts;
drop table network_instances;
drop table networks;
drop table profiles;
drop table templates;
drop table hosts;
