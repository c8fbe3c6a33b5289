-- migrate:up

-- What several queries of db/queries say, said once. The planner merges all of it into the query that uses it.

-- Users as who is to be told of something is shown: rows.Contact.
create view contacts as
select
  u.id, u.organization_id, u.flags,
  json_build_array(u.id, u.name, u.origin, u.realname, u.email, 'nomails' = any(u.flags)) as contact
from users u;

-- The highest state of a topology's elements; no row where it has none.
create function highest_state(of_topology_id bigint) returns table (state text) language sql stable rows 1
begin atomic
  select e.state
  from elements e
  where e.topology_id = of_topology_id
  order by array_position(array['started', 'prepared', 'created', 'default'], e.state)
  limit 1;
end;

-- The elements that a connection connects.
create function connection_ends(of_connection_id bigint) returns table (from_element_id bigint, to_element_id bigint)
language sql stable rows 1
begin atomic
  select min(e.id), max(e.id)
  from elements e
  where e.connection_id = of_connection_id;
end;

-- Groups of errors with what their dumps amount to.
create view error_group_summaries as
select
  g.group_id, g.description, g.removed_dumps, g.removed_dumps + d.kept as count, d.last_at, d.sources, d.origins, d.versions
from error_groups g
cross join
  lateral (
    select
      count(*) as kept,
      max(d.at) as last_at,
      coalesce(array_agg(distinct d.source), '{}') as sources,
      coalesce(array_agg(distinct d.origin), '{}') as origins,
      coalesce(jsonb_agg(distinct d.software_version), '[]') as versions
    from error_dumps d
    where d.group_id = g.group_id
  ) d;

-- The use of an object in a period, as far as it has records; no row where it has none.
create function usage_total(of_usage_id bigint, since timestamptz, until timestamptz)
returns table (
  begin_at timestamptz, end_at timestamptz, measurements bigint, memory double precision, diskspace double precision,
  traffic double precision, cputime double precision
) language sql stable rows 1
begin atomic
  select
    min(r.begin_at), max(r.end_at), sum(r.measurements)::bigint,
    coalesce(sum(r.memory * r.measurements) / nullif(sum(r.measurements), 0)::float8, avg(r.memory)),
    coalesce(sum(r.diskspace * r.measurements) / nullif(sum(r.measurements), 0)::float8, avg(r.diskspace)),
    sum(r.traffic), sum(r.cputime)
  from largest_usage_records(of_usage_id, since, until) r
  group by r.usage_id;
end;

-- migrate:down

drop function usage_total(bigint, timestamptz, timestamptz);
drop view error_group_summaries;
drop function connection_ends(bigint);
drop function highest_state(bigint);
drop view contacts;
