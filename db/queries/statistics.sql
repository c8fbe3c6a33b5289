-- name: counts()<!
-- record_class: Counts
-- plan: it counts everything
-- Count the rows of every kind.
with kinds as (
  select e.type, e.state, count(*) as n
  from elements e
  group by e.type, e.state
),

resources as (
  select
    sum(host_number(h.info #>> '{resources,cpus_present,count}')) as cpus,
    sum(host_number(h.info #>> '{resources,memory,total}')) as memory,
    sum(
      coalesce(host_number(h.info #>> '{resources,diskspace,root,total}'), 0)
      + coalesce(host_number(h.info #>> '{resources,diskspace,data,total}'), 0)
    ) as diskspace,
    avg(s.load) as load,
    avg(h.availability) as availability
  from hosts h
  cross join lateral host_status(h, null) s
)

select
  (select count(*) from organizations) as organizations,
  (select count(*) from sites) as sites,
  (select count(*) from hosts) as hosts,
  (select count(*) from users) as users,
  (select count(*) from topologies) as topologies,
  (select coalesce(sum(k.n), 0)::bigint from kinds k) as elements,
  (
    select coalesce(jsonb_object_agg(t.type, t.n), '{}')
    from (select k.type, sum(k.n) as n from kinds k group by k.type) t
  ) as elements_by_type,
  (
    select coalesce(jsonb_object_agg(t.state, t.n), '{}')
    from (select k.state, sum(k.n) as n from kinds k group by k.state) t
  ) as elements_by_state,
  (select count(*) from connections) as connections,
  (select count(*) from host_elements) as host_elements,
  (select count(*) from host_connections) as host_connections,
  (select count(*) from templates) as templates,
  (select count(*) from profiles) as profiles,
  (select count(*) from networks) as networks,
  (select count(*) from network_instances) as network_instances,
  (select count(*) from error_groups) as error_groups,
  (select count(*) from error_dumps) as error_dumps,
  (select count(*) from key_values) as key_values,
  (select count(*) from link_measurements) as link_measurements,
  (select count(*) from usage_records) as usage_records,
  (
    select count(*)
    from topologies t
    cross join lateral current_usage(t.usage_id) c
    where greatest(c.memory, c.traffic, c.cputime) > 0 -- disk space alone is used by what does not run
  ) as topologies_active,
  (select count(*) from users u where u.last_login_at >= now() - interval '30 days') as users_active,
  coalesce(r.cpus, 0) as host_cpus,
  coalesce(r.memory, 0) as host_memory,
  coalesce(r.diskspace, 0) as host_diskspace,
  r.load as host_load,
  r.availability as host_availability
from resources r;
