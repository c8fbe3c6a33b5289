-- migrate:up

-- An organization's year has more measurements than fit into four bytes. No installation has records yet.
-- squawk-ignore changing-column-type
alter table usage_records alter column measurements type bigint;

-- Where the period of that type begins, or ends, in which a record that ends at that moment lies: periods are UTC's, and
-- one holds what ends after its begin and not after its end.
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

-- What a topology is made of and hosts run something for: all else is no source of use.
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

-- From what the use of each object is rolled up, each source once, level after level: 1 elements, connections and hosts;
-- 2 topologies; 3 users; 4 organizations.
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

-- The records of an object that cover a period best: of those that lie in it, the ones that are in no longer one of them.
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

-- Use beyond what is free; of what can't be told (NaN, as an old installation wrote it) nothing.
create function usage_beyond(used double precision, free double precision) returns double precision
language sql immutable
return coalesce(nullif(greatest(0, used - free), 'NaN'), 0);

-- migrate:down

drop function usage_beyond(double precision, double precision);
drop function largest_usage_records(bigint, timestamptz, timestamptz);
drop view usage_sources;
drop view topology_sources;
drop function usage_period_end(text, timestamptz);
drop function usage_period_begin(text, timestamptz);
alter table usage_records alter column measurements type integer;
