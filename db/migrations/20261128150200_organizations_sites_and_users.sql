-- migrate:up

create table organizations (
  id bigint generated always as identity primary key,
  name text not null unique constraint organizations_name_check check (length(name) <= 50 and name !~ '/'),
  description text not null default '',
  homepage_url text not null default '',
  image_url text not null default '',
  description_text text not null default '',
  usage_id bigint default new_usage_id() unique references usage_statistics,
  attrs jsonb not null default '{}' constraint organizations_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- The usage identity of a removed organization goes with it.
create trigger organizations_usage_removed
after delete on organizations
referencing old table as removed
for each statement
execute function remove_usage();

create table sites (
  id bigint generated always as identity primary key,
  name text not null unique constraint sites_name_check check (length(name) <= 50 and name !~ '/'),
  organization_id bigint not null references organizations,
  description text not null default '',
  location text not null default '',
  longitude double precision constraint sites_longitude_check check (longitude between -180 and 180),
  latitude double precision constraint sites_latitude_check check (latitude between -90 and 90),
  description_text text not null default '',
  attrs jsonb not null default '{}' constraint sites_attrs_check check (jsonb_typeof(attrs) = 'object')
);
create index sites_organization_id_idx on sites (organization_id);

create table users (
  id bigint generated always as identity primary key,
  name text not null,
  origin text not null default '',
  organization_id bigint not null references organizations,
  realname text not null default '',
  email text not null default '',
  flags text [] not null default '{}' constraint users_flags_check check (array_position(flags, null) is null),
  password_hash text,
  password_at instant,
  last_login_at instant default now(),
  usage_id bigint default new_usage_id() unique references usage_statistics,
  attrs jsonb not null default '{}' constraint users_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (name, origin)
);
create index users_organization_id_idx on users (organization_id);
create index users_flags_idx on users using gin (flags);
create index users_last_login_at_idx on users (origin, last_login_at);

-- Partial: expiring cached passwords looks only at users that have one.
create index users_password_at_idx on users (origin, password_at) where password_hash is not null;

-- The usage identity of a removed user goes with it.
create trigger users_usage_removed
after delete on users
referencing old table as removed
for each statement
execute function remove_usage();

-- A trigger function: a flag that is added must be known, or a misspelt one would silently grant nothing. Unknown flags that
-- came from an old installation stay.
create function check_flags() returns trigger language plpgsql
set search_path from current
as $$
declare
  known constant text[] := array[
    'debug', 'error_notify', 'no_topology_create', 'over_quota', 'new_account', 'nomails',
    'restricted_profiles', 'restricted_templates', 'restricted_networks',
    'global_admin', 'global_host_manager', 'global_topl_owner', 'global_topl_manager', 'global_topl_user',
    'global_host_contact', 'global_admin_contact',
    'orga_admin', 'orga_host_manager', 'orga_topl_owner', 'orga_topl_manager', 'orga_topl_user',
    'orga_host_contact', 'orga_admin_contact'
  ];
  unknown text;
begin
  select f into unknown from unnest(new.flags) f
  where f <> all (known) and (tg_op = 'INSERT' or f <> all (old.flags))
  limit 1;
  if found then
    raise exception 'flag "%" is unknown', unknown
    using errcode = 'TD004', constraint = 'users_flags_known', table = 'users';
  end if;
  return null;
end;
$$;

-- New users are checked if they have flags at all.
create trigger users_flags_inserted
after insert on users
for each row when (new.flags <> '{}')
execute function check_flags();

-- Changed users are checked if their flags changed.
create trigger users_flags_updated
after update of flags on users
for each row when (new.flags is distinct from old.flags)
execute function check_flags();

create table quotas (
  user_id bigint primary key references users on delete cascade,
  monthly_memory double precision not null default 10e9,
  monthly_diskspace double precision not null default 100e9,
  monthly_traffic double precision not null default 1.62e12,
  monthly_cputime double precision not null default 12960000,
  used_memory double precision not null default 0,
  used_diskspace double precision not null default 0,
  used_traffic double precision not null default 0,
  used_cputime double precision not null default 0,
  used_at instant not null default now(),
  continuous_factor double precision not null default 1,
  constraint quotas_monthly_memory_check check (monthly_memory between 0 and 'infinity'),
  constraint quotas_monthly_diskspace_check check (monthly_diskspace between 0 and 'infinity'),
  constraint quotas_monthly_traffic_check check (monthly_traffic between 0 and 'infinity'),
  constraint quotas_monthly_cputime_check check (monthly_cputime between 0 and 'infinity'),
  constraint quotas_used_memory_check check (used_memory between 0 and 'infinity'),
  constraint quotas_used_diskspace_check check (used_diskspace between 0 and 'infinity'),
  constraint quotas_used_traffic_check check (used_traffic between 0 and 'infinity'),
  constraint quotas_used_cputime_check check (used_cputime between 0 and 'infinity'),
  constraint quotas_continuous_factor_check check (continuous_factor between 0 and 'infinity')
);

-- Users as contacts, in the form of rows.Contact, for the queries that list whom to notify.
create view contacts as
select
  u.id, u.organization_id, u.flags,
  json_build_array(u.id, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags)) as contact
from users u;

-- migrate:down

drop view contacts;
drop table quotas;
drop table users;
drop function check_flags();
drop table sites;
drop table organizations;
