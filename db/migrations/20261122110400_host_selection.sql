-- migrate:up

-- What is wrong with a host, how loaded it is and where it stands among others: computed here and nowhere else.
-- The functions are plain SQL that the planner merges into the query that calls them; those of whole hosts are texts, so
-- that a column's type can still be changed.

-- A number that a host reports, which can arrive as a text; null for what is none, or is beyond all measure. The bounds
-- keep every cast, and every quotient of two such numbers, within double precision: nothing that a host says is an error.
create function host_number(reported text) returns double precision language sql immutable parallel safe
return case
  when length(reported) <= 500 and reported ~ '^[ \t\r\n]*[+]?[0-9]+([.][0-9]*)?([eE][+-]?[0-9]{1,2})?[ \t\r\n]*$'
    then case when reported::numeric < 1e100 then round(reported::numeric, 100)::double precision end
end;

-- What a rule says about a host: nothing where it is kept, and that there is no number where it can't be told.
create function host_problem(about text, broken boolean, said text) returns text language sql immutable parallel safe
return case when broken then about || ': ' || said when broken is null then about || ': no number' end;

-- A host's problems and load (0 to 1; null where nothing is known). Ages count from started_at, where the backend
-- started later. Sizes are in KiB. Of the clock only the distance matters.
create function host_status(h hosts, started_at timestamptz)
returns table (problems text[], load double precision) language sql stable parallel safe rows 1
as $$
  select
    case
      when not h.enabled then array['not enabled']
      when coalesce(greatest(h.info_at, started_at) < now() - interval '420 s', true) then array['unreachable']
      when jsonb_typeof(h.info) <> 'object' or h.info = '{}' then array['no info']
      else array_remove(array[
        case
          when coalesce(greatest(h.resources_synced_at, started_at) < now() - interval '1500 s', true)
            then 'resources: not synced for 1500 s'
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
        host_problem('component errors', h.component_errors > 2, 'more than 2'),
        host_problem('error dumps', r.dumps >= 100, '100 or more')
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

-- The kinds of networks that a host offers: what it reports (a list of kinds or of objects with a kind, or an object by
-- kind), and those of its network instances.
create function host_network_kinds(h hosts) returns setof text language sql stable parallel safe
as $$
  select k.kind #>> '{}' from jsonb_path_query(h.networks, '$[*] ? (@.type() == "string")') k (kind)
  union all
  select k.kind #>> '{}' from jsonb_path_query(h.networks, '$[*].kind') k (kind)
  union all
  select k.kind #>> '{}'
  from jsonb_path_query(h.networks, 'strict $ ? (@.type() == "object").keyvalue().key', silent => true) k (kind)
  union all
  select n.kind from network_instances i inner join networks n on n.id = i.network_id where i.host_id = h.id;
$$;

-- Whether a host supports all these: element types, under their own names or those that they have on hosts; connection
-- types; and network kinds, where x is offered by x and by every x/….
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
        select from host_network_kinds(h) offered where offered = wanted or starts_with(offered, wanted || '/')
      )
    );
$$;

-- How good a candidate is, before the caller's bonuses, among candidates that run so many components on average.
create function host_score(
  component_errors integer, load double precision, elements double precision, avg_elements double precision,
  connections double precision, avg_connections double precision
) returns double precision language sql immutable parallel safe
return -25 * component_errors - 100 * load
- greatest(-20, least(20, coalesce(10 * (elements - avg_elements) / nullif(avg_elements, 0), 0)))
- greatest(-10, least(10, coalesce(10 * (connections - avg_connections) / nullif(avg_connections, 0), 0)));

-- What an update of a host, once a minute, makes of these columns. An availability's past halves in 90 days. A problem
-- that was announced, or is just being announced, stays until its end was announced, too; one that is back by then is
-- still the same.
create function host_after_update(h hosts, started_at timestamptz)
returns table (availability double precision, component_errors integer, problem_since timestamptz)
language sql stable parallel safe rows 1
as $$
  select
    h.availability * f.factor + case when s.problems = '{}' then 1 - f.factor else 0 end,
    h.component_errors / 2,
    case
      when s.problems <> '{}' then coalesce(h.problem_since, now())
      when h.problem_mailed_at >= h.problem_since or h.problem_lease_until > now() then h.problem_since
    end
  from host_status(h, started_at) s
  cross join (select 0.5 ^ (60 / (90 * 86400)::double precision) as factor) f;
$$;

-- Hosts that are due for a sync stand at the front, those that never had one first.
-- Hosts are few.
-- squawk-ignore require-concurrent-index-deletion
drop index hosts_sync_due_idx;
-- squawk-ignore require-concurrent-index-creation
create index hosts_sync_due_idx on hosts (coalesce(resources_synced_at, '-infinity')) where enabled;

-- migrate:down

drop index hosts_sync_due_idx;
create index hosts_sync_due_idx on hosts (resources_synced_at) where enabled;
drop function host_after_update(hosts, timestamptz);
drop function host_score(integer, double precision, double precision, double precision, double precision, double precision);
drop function host_supports(hosts, text[], text[], text[]);
drop function host_network_kinds(hosts);
drop function host_status(hosts, timestamptz);
drop function host_problem(text, boolean, text);
drop function host_number(text);
