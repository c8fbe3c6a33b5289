-- migrate:up

-- There is no surrogate id, so that the table can be distributed by usage_id. measurements is a bigint because an
-- organization's year has more of them than an integer holds.
create table usage_records (
  usage_id bigint not null references usage_statistics on delete cascade,
  end_at instant not null,
  begin_at instant not null,
  memory double precision not null default 0,
  diskspace double precision not null default 0,
  traffic double precision not null default 0,
  cputime double precision not null default 0,
  measurements bigint not null default 0 constraint usage_records_measurements_check check (measurements >= 0),
  type text not null
  constraint usage_records_type_check check (type in ('5minutes', 'hour', 'day', 'month', 'year')),
  primary key (usage_id, type, end_at),
  constraint usage_records_end_at_check check (end_at >= begin_at)
);

-- The begin, and below the end, of the period of a type in which a record that ends at this moment lies. Periods are UTC's; one
-- holds what ends after its begin and not after its end.
create function usage_period_begin(type text, at timestamptz) returns timestamptz language sql stable
return case type
  when '5minutes' then date_bin(interval '5 minutes', at - interval '1 microsecond', timestamptz 'epoch')
  else date_trunc(type, (at - interval '1 microsecond') at time zone 'UTC') at time zone 'UTC'
end;

create function usage_period_end(type text, at timestamptz) returns timestamptz language sql stable
return case type
  when '5minutes'
    then date_bin(interval '5 minutes', at - interval '1 microsecond', timestamptz 'epoch') + interval '5 minutes'
  else (
    date_trunc(type, (at - interval '1 microsecond') at time zone 'UTC') + ('1 ' || type)::interval
  ) at time zone 'UTC'
end;

-- The records of an object that cover a period best: of those that lie in it, the ones that no longer record covers.
create function largest_usage_records(of_usage_id bigint, since timestamptz, until timestamptz)
returns setof usage_records language sql stable
begin atomic
  select r.*
  from usage_records r
  where
    r.usage_id = of_usage_id and r.begin_at >= since and r.end_at <= until
    and not exists (
      select from usage_records l
      where
        l.usage_id = of_usage_id and l.begin_at >= since and l.end_at <= until
        and l.end_at > r.begin_at and l.begin_at < r.end_at
        and array_position('{5minutes,hour,day,month,year}', l.type)
        > array_position('{5minutes,hour,day,month,year}', r.type)
    );
end;

-- The use of an object in a period, as far as it has records; no row if it has none. Several queries share it, and the
-- planner merges it into each.
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

-- Use beyond what is free; none if that is unknown (NaN, as an old installation wrote it).
create function usage_beyond(used double precision, free double precision) returns double precision
language sql immutable
return coalesce(nullif(greatest(0, used - free), 'NaN'), 0);

-- The components of a topology for which hosts run something: nothing else is a source of use.
create view topology_sources as
select e.topology_id, e.usage_id
from elements e
where
  e.host_element_id is not null
  or exists (select from host_elements he where he.element_id = e.id)
  or exists (select from host_connections hc where hc.element_id = e.id)
union all
select c.topology_id, c.usage_id
from connections c
where
  coalesce(c.host_connection1_id, c.host_connection2_id, c.host_element1_id, c.host_element2_id) is not null
  or exists (select from host_elements he where he.connection_id = c.id)
  or exists (select from host_connections hc where hc.connection_id = c.id);

-- The sources from which the use of each object is rolled up, each source once, level after level: 1 elements, connections
-- and hosts; 2 topologies; 3 users; 4 organizations.
create view usage_sources as
select 1 as level, e.usage_id, he.usage_id as source_id
from host_elements he
inner join elements e on e.id = he.element_id
union all
select 1, e.usage_id, hc.usage_id
from host_connections hc
inner join elements e on e.id = hc.element_id
union all
select 1, e.usage_id, he.usage_id
from elements e
inner join host_elements he on he.id = e.host_element_id
where he.element_id is distinct from e.id
union all
select 1, c.usage_id, he.usage_id
from host_elements he
inner join connections c on c.id = he.connection_id
union all
select 1, c.usage_id, hc.usage_id
from host_connections hc
inner join connections c on c.id = hc.connection_id
union all
select 1, c.usage_id, he.usage_id
from connections c
inner join host_elements he on he.id = c.host_element1_id
where he.connection_id is distinct from c.id
union all
select 1, c.usage_id, he.usage_id
from connections c
inner join host_elements he on he.id = c.host_element2_id
where he.connection_id is distinct from c.id and c.host_element2_id is distinct from c.host_element1_id
union all
select 1, c.usage_id, hc.usage_id
from connections c
inner join host_connections hc on hc.id = c.host_connection1_id
where hc.connection_id is distinct from c.id
union all
select 1, c.usage_id, hc.usage_id
from connections c
inner join host_connections hc on hc.id = c.host_connection2_id
where hc.connection_id is distinct from c.id and c.host_connection2_id is distinct from c.host_connection1_id
union all
select 1, h.usage_id, he.usage_id
from host_elements he
inner join hosts h on h.id = he.host_id
where h.enabled
union all
select 1, h.usage_id, hc.usage_id
from host_connections hc
inner join hosts h on h.id = hc.host_id
where h.enabled
union all
select 2, t.usage_id, s.usage_id
from topologies t
inner join topology_sources s on s.topology_id = t.id
union all
select 3, u.usage_id, t.usage_id
from topology_permissions p
inner join users u on u.id = p.user_id
inner join topologies t on t.id = p.topology_id
where p.role = 'owner' and exists (select from topology_sources s where s.topology_id = t.id)
union all
select 4, o.usage_id, u.usage_id
from users u
inner join organizations o on o.id = u.organization_id
where exists (
    select from topology_permissions p
    inner join topology_sources s on s.topology_id = p.topology_id
    where p.user_id = u.id and p.role = 'owner'
  );

-- migrate:down

drop view usage_sources;
drop view topology_sources;
drop function usage_beyond(double precision, double precision);
drop function usage_total(bigint, timestamptz, timestamptz);
drop function largest_usage_records(bigint, timestamptz, timestamptz);
drop function usage_period_end(text, timestamptz);
drop function usage_period_begin(text, timestamptz);
drop table usage_records;
