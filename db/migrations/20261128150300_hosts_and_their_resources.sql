-- migrate:up

-- A *_lease_until column is a claim: until then one worker has the row for one kind of work. It is null when the work is
-- finished.
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
  update_lease_until instant,
  sync_lease_until instant,
  problem_lease_until instant,
  attrs jsonb not null default '{}' constraint hosts_attrs_check check (jsonb_typeof(attrs) = 'object')
);
create index hosts_site_id_idx on hosts (site_id);

-- Hosts in the order in which they are claimed for an update: those that never had one first, and a host whose claim ended
-- without success after all that have waited since before its lease ran out. Partial: disabled hosts are never updated.
create index hosts_update_turn_idx on hosts (
  coalesce(greatest(info_at, update_lease_until), '-infinity')
) where enabled;

-- Hosts in the order in which they are claimed for a sync of their resources, in the same way.
create index hosts_sync_turn_idx on hosts (
  coalesce(greatest(resources_synced_at, sync_lease_until), '-infinity')
) where enabled;

-- Problems in the order in which their notices are claimed, in the same way. Partial: few hosts have a problem.
create index hosts_problem_turn_idx on hosts (greatest(problem_since, problem_lease_until)) where problem_since is not null;

-- The usage identity of a removed host goes with it.
create trigger hosts_usage_removed
after delete on hosts
referencing old table as removed
for each statement
execute function remove_usage();

-- Templates, profiles, networks and their instances are resources, which frontends address by their ids alone: these come from
-- one sequence.
create sequence resources_id_seq;

create table templates (
  id bigint default nextval('resources_id_seq') primary key,
  tech text not null constraint templates_tech_check check (tech in ('kvmqm', 'openvz', 'repy')),
  name text not null,
  preference integer not null default 0,
  label text not null default '',
  subtype text not null default '',
  restricted boolean not null default false,
  kblang text not null default 'en-us',
  torrent_data text not null default '',
  torrent_data_md5 text not null generated always as (md5(torrent_data)) stored,
  attrs jsonb not null default '{}' constraint templates_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (tech, name)
);
create index templates_preference_idx on templates (tech, preference desc, id);

create table profiles (
  id bigint default nextval('resources_id_seq') primary key,
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
  id bigint default nextval('resources_id_seq') primary key,
  kind text not null unique,
  preference integer not null default 0,
  label text not null default '',
  restricted boolean not null default false,
  attrs jsonb not null default '{}' constraint networks_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- Finds the kinds that begin with “x/”, whatever the database's collation.
create index networks_kind_prefix_idx on networks (kind collate "C");

create table network_instances (
  id bigint default nextval('resources_id_seq') primary key,
  network_id bigint references networks on delete set null,
  host_id bigint not null references hosts on delete cascade,
  bridge text not null,
  attrs jsonb not null default '{}' constraint network_instances_attrs_check check (jsonb_typeof(attrs) = 'object'),
  unique (host_id, bridge)
);
create index network_instances_network_id_idx on network_instances (network_id);

-- All resources, in the frontends' form: what they are, and all that is known of them but the torrent data.
create view resources as
select
  tp.id, 'template' as type,
  tp.attrs || jsonb_build_object(
    'tech', tp.tech, 'name', tp.name, 'preference', tp.preference, 'label', tp.label, 'subtype', tp.subtype,
    'restricted', tp.restricted, 'kblang', tp.kblang
  ) as attrs
from templates tp
union all
select
  pf.id, 'profile',
  pf.attrs || jsonb_build_object(
    'tech', pf.tech, 'name', pf.name, 'preference', pf.preference, 'label', pf.label, 'restricted', pf.restricted,
    'ram', pf.ram, 'cpus', pf.cpus, 'diskspace', pf.diskspace
  )
from profiles pf
union all
select
  n.id, 'network',
  n.attrs || jsonb_build_object(
    'kind', n.kind, 'preference', n.preference, 'label', n.label, 'restricted', n.restricted
  )
from networks n
union all
select
  i.id, 'network_instance',
  i.attrs || jsonb_build_object(
    'network', (select n.kind from networks n where n.id = i.network_id),
    'host', (select h.name from hosts h where h.id = i.host_id),
    'bridge', i.bridge
  )
from network_instances i;

-- A trigger function: an id names at most one resource.
create function check_resource_id() returns trigger language plpgsql set search_path from current as $$
begin
  if (select count(*) from resources r where r.id = new.id) > 1 then
    raise exception 'another resource has the id %', new.id
    using errcode = 'unique_violation', constraint = 'resources_id_key', table = 'resources';
  end if;
  return null;
end;
$$;

-- Ids of the sequence are never there twice; others that are given could be.
create constraint trigger resources_twice
after insert or update of id on templates
for each row execute function check_resource_id();
create constraint trigger resources_twice
after insert or update of id on profiles
for each row execute function check_resource_id();
create constraint trigger resources_twice
after insert or update of id on networks
for each row execute function check_resource_id();
create constraint trigger resources_twice
after insert or update of id on network_instances
for each row execute function check_resource_id();

-- A load looks at this view instead, as at connections_two_ends.
create view resources_twice as
select r.id, string_agg(r.type, ' and ' order by r.type) as broken
from resources r
group by r.id
having count(*) > 1;

comment on view resources_twice is 'an id names one resource';

create table templates_on_hosts (
  host_id bigint not null references hosts on delete cascade,
  template_id bigint not null references templates on delete cascade,
  ready boolean not null default false,
  changed_at instant not null default now(),
  primary key (host_id, template_id)
);
create index templates_on_hosts_template_id_idx on templates_on_hosts (template_id, ready);

-- The functions below compute a host's problems, its load and its rank among candidates; nothing else does. They are plain
-- SQL, which the planner merges into the query that calls them. Those that take a whole host have a body of text, so that
-- the type of one of its columns can still be changed; a search_path of their own would keep them from being merged.

-- Read a number that a host reports, which may arrive as text; null if it is none, or is out of range. The bounds keep every
-- cast, and every quotient of two such numbers, within double precision: no report of a host can cause an error.
create function host_number(reported text) returns double precision language sql immutable parallel safe
return case
  when length(reported) <= 500 and reported ~ '^[ \t\r\n]*[+]?[0-9]+([.][0-9]*)?([eE][+-]?[0-9]{1,2})?[ \t\r\n]*$'
    then case when reported::numeric < 1e100 then round(reported::numeric, 100)::double precision end
end;

-- Word a rule's verdict about a host: null if the rule is kept, “no number” if the host did not report what it needs.
create function host_problem(about text, broken boolean, said text) returns text language sql immutable parallel safe
return case when broken then about || ': ' || said when broken is null then about || ': no number' end;

-- A host's problems and its load (0 to 1; null if unknown). Ages count from started_at if the backend started later, so that
-- a restart reports no problems. Sizes are in KiB. The clock's offset counts in both directions. errors: the component
-- errors to judge by, where they are not the host's own.
create function host_status(h hosts, started_at timestamptz, errors integer default null)
returns table (problems text[], load double precision) language sql stable parallel safe rows 1
as $$
  select
    case
      when not h.enabled then array['not enabled']
      when coalesce(
          greatest(h.info_at, started_at) < now() - seconds(300 + 2 * (select c.host_update_interval from settings c)), true
        ) then array['unreachable']
      when jsonb_typeof(h.info) <> 'object' or h.info = '{}' then array['no info']
      else array_remove(array[
        case
          when coalesce(
              greatest(h.resources_synced_at, started_at)
              < now() - seconds(300 + 2 * (select c.resource_sync_interval from settings c)),
              true
            )
            then format('resources: not synced for %s s', 300 + 2 * (select c.resource_sync_interval from settings c))
        end,
        host_problem('uptime', r.uptime < 600, 'less than 600 s'),
        host_problem('clock', r.time_diff > 300, 'off by more than 300 s'),
        host_problem('last query', r.query_time > 5, 'more than 5 s'),
        host_problem('CPUs', r.cpus = 0, 'none'),
        host_problem('bogomips', r.bogomips < 1000, 'less than 1000'),
        host_problem('loadavg', r.loadavg > coalesce(r.cpus, r.loadavg), 'more than CPUs'),
        host_problem('root disk', r.root_total - r.root_used < 1e6, 'less than 1e6 KiB free'),
        host_problem('data disk', r.data_total - r.data_used < 10e6, 'less than 10e6 KiB free'),
        host_problem('memory', r.memory_total - r.memory_used < 1e6, 'less than 1e6 KiB free'),
        host_problem('component errors', coalesce(errors, h.component_errors) > 2, 'more than 2'),
        case when h.info ? 'dumps' then host_problem('error dumps', r.dumps >= 100, '100 or more') end
      ], null) || array(
        select p.problem #>> '{}'
        from jsonb_path_query(h.info, '$.problems[*] ? (@ != null)') with ordinality as p (problem, n)
        order by p.n
      )
    end,
    case when r.load > 1 then 1 else r.load end
  from (
    select
      n.*,
      greatest(
        n.loadavg / nullif(n.cpus, 0), n.memory_used / nullif(n.memory_total, 0), n.data_used / nullif(n.data_total, 0)
      ) as load
    from (
      select
        host_number(h.info ->> 'uptime') as uptime,
        host_number(regexp_replace(h.info ->> 'time_diff', '^[ \t\r\n]*-', '')) as time_diff,
        host_number(h.info ->> 'query_time') as query_time,
        host_number(h.info ->> 'dumps') as dumps,
        host_number(h.info #>> '{resources,cpus_present,count}') as cpus,
        host_number(h.info #>> '{resources,cpus_present,bogomips_avg}') as bogomips,
        host_number(h.info #>> '{resources,loadavg,1}') as loadavg,
        host_number(h.info #>> '{resources,memory,total}') as memory_total,
        host_number(h.info #>> '{resources,memory,used}') as memory_used,
        host_number(h.info #>> '{resources,diskspace,root,total}') as root_total,
        host_number(h.info #>> '{resources,diskspace,root,used}') as root_used,
        host_number(h.info #>> '{resources,diskspace,data,total}') as data_total,
        host_number(h.info #>> '{resources,diskspace,data,used}') as data_used
      offset 0 -- so that each number is read once
    ) n
  ) r;
$$;

-- True if a host supports all of these: element types, under their own names or their names on hosts; connection types; and
-- network kinds, of which it has those of its network instances, and where both x and any x/… offer x.
create function host_supports(h hosts, element_types text[], connection_types text[], network_kinds text[])
returns boolean language sql stable parallel safe
as $$
  select
    h.connection_types ?& connection_types
    and h.element_types ?& array(
      select case t
        when 'tinc_endpoint' then 'tinc'
        when 'udp_endpoint' then 'udp_tunnel'
        when 'external_network_endpoint' then 'external_network'
        else t
      end
      from unnest(element_types) t
    )
    and not exists (
      select from unnest(network_kinds) wanted
      where not exists (
        select
        from network_instances i
        inner join networks n on n.id = i.network_id
        where i.host_id = h.id and (n.kind = wanted or starts_with(n.kind, wanted || '/'))
      )
    );
$$;

-- The score of a candidate, before the caller's bonuses, among candidates that run this many components on average.
create function host_score(
  component_errors integer, load double precision, elements double precision, avg_elements double precision,
  connections double precision, avg_connections double precision
) returns double precision language sql immutable parallel safe
return -25 * component_errors - 100 * load
- greatest(-20, least(20, coalesce(10 * (elements - avg_elements) / nullif(avg_elements, 0), 0)))
- greatest(-10, least(10, coalesce(10 * (connections - avg_connections) / nullif(avg_connections, 0), 0)));

-- The new values of these columns when a host is updated, once in an interval. The past's share of an availability halves in
-- its half-life. Errors are halved before problems are judged. A problem that was announced, or is being announced, stays until
-- its end was announced too; if it comes back before then, it is still the same problem. A disabled host stays as it is.
create function host_after_update(h hosts, started_at timestamptz)
returns table (availability double precision, component_errors integer, problem_since timestamptz)
language sql stable parallel safe rows 1
as $$
  select
    case
      when h.enabled then h.availability * f.factor + case when s.problems = '{}' then 1 - f.factor else 0 end
      else h.availability
    end,
    case when h.enabled then h.component_errors / 2 else h.component_errors end,
    case
      when not h.enabled then h.problem_since
      when s.problems <> '{}' then coalesce(h.problem_since, now())
      when h.problem_mailed_at >= h.problem_since or h.problem_lease_until > now() then h.problem_since
    end
  from host_status(h, started_at, h.component_errors / 2) s
  cross join (
    select 0.5 ^ (select c.host_update_interval / c.availability_half_life::double precision from settings c) as factor
  ) f;
$$;

-- migrate:down

drop function host_after_update(hosts, timestamptz);
drop function host_score(integer, double precision, double precision, double precision, double precision, double precision);
drop function host_supports(hosts, text[], text[], text[]);
drop function host_status(hosts, timestamptz, integer);
drop function host_problem(text, boolean, text);
drop function host_number(text);
drop table templates_on_hosts;
drop view resources_twice;
drop trigger resources_twice on network_instances;
drop trigger resources_twice on networks;
drop trigger resources_twice on profiles;
drop trigger resources_twice on templates;
drop function check_resource_id();
drop view resources;
drop table network_instances;
drop table networks;
drop table profiles;
drop table templates;
drop sequence resources_id_seq;
drop table hosts;
