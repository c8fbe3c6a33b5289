-- migrate:up

-- The parts that every later file builds on, and the two tables of the backend that belong to no other subject.

-- The hash of each migration's file at the time when it was applied, so that “make migrate” can name a file that was edited
-- afterwards. dbmate makes the table before it runs the first migration, and removes the row of one that it undoes.
alter table schema_migrations add column sha256 text;

-- A moment that every client can hold: finite, in the years 1 to 9999, to the microsecond.
create domain instant as timestamptz
constraint instant_is_finite_and_of_years_1_to_9999
check (value >= '0001-01-01 00:00:00+00' and value < '10000-01-01 00:00:00+00');

-- Usage identities: everything that is accounted for has a usage_id that refers to one, and so have its usage records.
create table usage_statistics (
  id bigint generated always as identity primary key,
  attrs jsonb not null default '{}' constraint usage_statistics_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- The default of every usage_id, so that a new row comes with a usage identity of its own in the same statement.
create function new_usage_id() returns bigint language sql volatile
begin atomic
  insert into usage_statistics default values returning id;
end;

-- Bodies of text resolve names when they run, so those that are not merged into a query keep the path of migrations: the
-- schema, then temporary objects. Bodies that begin with “begin atomic” or “return” have resolved theirs.

-- A trigger function: it removes the usage identities of deleted rows, which no foreign key can do, since the reference
-- points the other way. Their usage records go with them.
create function remove_usage() returns trigger language plpgsql
set search_path from current
as $$
begin
  delete from usage_statistics u using removed r where u.id = r.usage_id;
  return null;
end;
$$;

-- Work that is done periodically as a whole, by one worker at a time: when it was started last, and until when a worker has
-- claimed it.
create table tasks (
  name text primary key,
  started_at instant not null,
  run_lease_until instant
);

-- Values that the backend stores under names of its own.
create table key_values (
  id bigint generated always as identity primary key,
  key text not null unique,
  value jsonb not null,
  attrs jsonb not null default '{}' constraint key_values_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- Settings of an installation, the same for all workers, in one row. Durations are seconds, from one to ten years; amounts are
-- bytes and CPU seconds. A load keeps the row where the file has none.
create table settings (
  id smallint primary key default 1 constraint settings_id_check check (id = 1),
  host_update_interval integer not null default 60
  constraint settings_host_update_interval_check check (host_update_interval between 1 and 315360000),
  resource_sync_interval integer not null default 600
  constraint settings_resource_sync_interval_check check (resource_sync_interval between 1 and 315360000),
  availability_half_life integer not null default 90 * 86400
  constraint settings_availability_half_life_check check (availability_half_life between 1 and 315360000),
  topology_timeout_initial integer not null default 3600
  constraint settings_topology_timeout_initial_check check (topology_timeout_initial between 1 and 315360000),
  topology_timeout_default integer not null default 3 * 86400
  constraint settings_topology_timeout_default_check check (topology_timeout_default between 1 and 315360000),
  topology_timeout_maximum integer not null default 30 * 86400
  constraint settings_topology_timeout_maximum_check check (topology_timeout_maximum between 1 and 315360000),
  topology_timeout_warning integer not null default 86400
  constraint settings_topology_timeout_warning_check check (topology_timeout_warning between 1 and 315360000),
  topology_timeout_options integer [] not null default '{86400,259200,1209600,2592000}'
  constraint settings_topology_timeout_options_check
  check (array_position(topology_timeout_options, null) is null and 0 < all(topology_timeout_options)),
  quota_memory double precision not null default 10e9
  constraint settings_quota_memory_check check (quota_memory between 0 and 'infinity'),
  quota_diskspace double precision not null default 100e9
  constraint settings_quota_diskspace_check check (quota_diskspace between 0 and 'infinity'),
  quota_traffic double precision not null default 1.62e12
  constraint settings_quota_traffic_check check (quota_traffic between 0 and 'infinity'),
  quota_cputime double precision not null default 12960000
  constraint settings_quota_cputime_check check (quota_cputime between 0 and 'infinity'),
  quota_continuous_factor double precision not null default 1
  constraint settings_quota_continuous_factor_check check (quota_continuous_factor between 0 and 'infinity'),
  error_dump_interval integer not null default 1800
  constraint settings_error_dump_interval_check check (error_dump_interval between 1 and 315360000)
);
insert into settings default values;

-- A setting that is a duration, as such.
create function seconds(duration integer) returns interval language sql immutable parallel safe
return make_interval(secs => duration);

-- migrate:down

drop function seconds(integer);
drop table settings;
drop table key_values;
drop table tasks;
drop function remove_usage();
drop function new_usage_id();
drop table usage_statistics;
drop domain instant;
alter table schema_migrations drop column sha256;
