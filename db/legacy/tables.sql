-- Temporary tables for an old dump. Each record keeps its model and pk.

-- staged_…: future rows of the table of that name. They accept invalid values, so that all violations can be listed.
do $$
declare
  target text;
begin
  foreach target in array array[
    'usage_statistics', 'usage_records', 'organizations', 'sites', 'users', 'quotas', 'hosts', 'topologies',
    'topology_permissions', 'connections', 'elements', 'host_elements', 'host_connections', 'templates', 'profiles',
    'networks', 'network_instances', 'templates_on_hosts', 'link_measurements', 'key_values', 'error_groups', 'error_dumps',
    'usage_progress'
  ] loop
    execute format(
      'create temp table %I (model text, pk text, like %I including defaults including generated)',
      'staged_' || target, target
    );
    execute (
      select format('alter table %I %s', 'staged_' || target, string_agg(format('alter %I drop not null', a.attname), ', '))
      from pg_attribute a
      where a.attrelid = ('staged_' || target)::regclass and a.attnum > 0 and a.attnotnull
    );
  end loop;
end;
$$;

-- References that have no column in the new schema.
alter table staged_users add column quota bigint;
alter table staged_topologies add column permissions bigint;
alter table staged_elements add column permissions bigint;
alter table staged_connections add column permissions bigint;

-- old_…: records that are joined with others into a row, or become a part of one.
create temp table old_usages (
  model text,
  pk text,
  id bigint,
  memory double precision,
  diskspace double precision,
  traffic double precision,
  cputime double precision
);

create temp table old_usage_records (
  model text,
  pk text,
  usage_id bigint,
  type text,
  begin_at instant,
  end_at instant,
  measurements integer,
  usage bigint
);

create temp table old_quotas (
  model text,
  pk text,
  id bigint,
  monthly bigint,
  used bigint,
  used_at instant,
  continuous_factor double precision
);

create temp table old_permissions (model text, pk text, id bigint);

create temp table old_permission_entries (
  model text,
  pk text,
  permissions bigint,
  user_id bigint,
  role text
);

-- The parts of an element's record that depend on its type.
create temp table old_element_parts (
  model text,
  pk text,
  id bigint,
  host_element_id bigint,
  site_id bigint,
  template_id bigint,
  profile_id bigint,
  network_id bigint,
  network_instance_id bigint,
  rextfv_started_at instant,
  next_sync_at instant
);

-- A resource's attrs are staged in the table of its type, and completed by the other record there.
create temp table old_resources (model text, pk text, id bigint, type text);
create temp table old_templates (model text, pk text, id bigint, tech text, name text, preference integer);
create temp table old_profiles (model text, pk text, id bigint, tech text, name text, preference integer);
create temp table old_networks (model text, pk text, id bigint, kind text, preference integer);
create temp table old_network_instances (model text, pk text, id bigint, network_id bigint, host_id bigint, bridge text);

create temp table old_migrations (model text, pk text, app_name text, migration text, applied text);

-- Offences: violations of rules. A row has the record, its columns, their value, and the violated rule (a constraint's name, or
-- a text). Round 1 has the faults of the file, later rounds have consequences of dropped records. The cost is minimal: the
-- value, if the column has a default or is nullable; else the record. A reference to a dropped record becomes null if the
-- schema would set it so. “part” is a value for another record's row, which is decided there. Of a duplicate pk, the second
-- record is already dropped. became: the replacement of the value, for people. reset: the column that must still be set to it.
create temp table offences (
  model text,
  pk text,
  columns text [],
  value text,
  rule text,
  round integer not null default 1,
  costs text not null default 'record' check (costs in ('record', 'value', 'part', 'second')),
  became text,
  reset text
);

-- Values that are converted to other values, although they violate no rule.
create temp table readings (model text, pk text, columns text [], value text, became text, reason text);

-- Duplicate records that are merged into another one, and their differing values.
create temp table merges (model text, pk text, into_pk text, differs jsonb);
