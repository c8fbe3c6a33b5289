-- name: import_records(usage_ids, begin_ats, end_ats, measurements, memory, diskspace, traffic, cputime, now)<!
-- record_class: ImportedUsage
-- nullable: now
-- Store 5-minute records of host components for the next rollup; columns are given as arrays. The locks keep components
-- from being deleted meanwhile; a component that is being deleted counts as unknown.
with given as materialized (
  select g.*
  from unnest(
      :usage_ids::bigint[], :begin_ats::timestamptz[], :end_ats::timestamptz[], :measurements::bigint[],
      :memory::float8[], :diskspace::float8[], :traffic::float8[], :cputime::float8[]
    ) g (usage_id, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
),

components as materialized (
  select u.id
  from usage_statistics u
  where u.id = any(:usage_ids::bigint[]) and (
      exists (select from host_elements he where he.usage_id = u.id)
      or exists (select from host_connections hc where hc.usage_id = u.id)
    )
  for key share skip locked
),

accepted as materialized (
  select g.*
  from given g
  inner join components c on c.id = g.usage_id
  where g.end_at <= coalesce(:now, now()) + interval '5 minutes'
),

stored as (
  insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
  select a.usage_id, '5minutes', a.begin_at, a.end_at, a.measurements, a.memory, a.diskspace, a.traffic, a.cputime
  from accepted a
  order by a.usage_id, a.end_at
  on conflict do nothing
  returning usage_id, end_at
),

arrivals as (
  insert into usage_arrivals (end_at, usage_id)
  select s.end_at, s.usage_id
  from stored s
  on conflict do nothing
)

select
  count(s.usage_id) as imported,
  (select count(*) from accepted) - count(s.usage_id) as known,
  (select count(*) from given g where not exists (select from components c where c.id = g.usage_id)) as unknown,
  (
    select count(*) from given g
    inner join components c on c.id = g.usage_id
  ) - (select count(*) from accepted) as ahead,
  count(*) filter (where usage_period_end('5minutes', s.end_at) <= p.settled_at) as late
from (select max(p.settled_at) as settled_at from usage_progress p) p
left join stored s on true;

-- name: aggregate(now, started_at)<!
-- record_class: AggregatedUsage
-- nullable: now, started_at
-- not null: ran, written, pruned, late, waiting, unfinished
-- repeatable: what is rolled up already is not due again
-- Roll up all due records, or a part of them.
select a.ran, a.written, a.pruned, a.late, a.waiting, a.unfinished
from aggregate_usage(coalesce(:now, now()), :started_at) a;

-- name: list(usage_id, type, since, until)
-- record_class: UsageRecord
-- Return an object's records of a type that end after one time and not after another, ordered by time.
select r.usage_id, r.type, r.begin_at, r.end_at, r.measurements, r.memory, r.diskspace, r.traffic, r.cputime
from usage_records r
where r.usage_id = :usage_id and r.type = :type and r.end_at > :since::timestamptz and r.end_at <= :until::timestamptz
order by r.end_at;

-- name: history(usage_id)^
-- record_class: UsageHistory
-- Return all records of an object, by type and ordered by time.
with stored as materialized (
  select r.usage_id, r.type, r.begin_at, r.end_at, r.measurements, r.memory, r.diskspace, r.traffic, r.cputime
  from usage_records r
  where r.usage_id = :usage_id
)

select
  u.id as usage_id, h.five_minutes, h.hour, h.day, h.month, h.year
from usage_statistics u
cross join (
  select
    coalesce(json_agg(o.record order by o.end_at) filter (where o.type = '5minutes'), '[]') as five_minutes,
    coalesce(json_agg(o.record order by o.end_at) filter (where o.type = 'hour'), '[]') as hour,
    coalesce(json_agg(o.record order by o.end_at) filter (where o.type = 'day'), '[]') as day,
    coalesce(json_agg(o.record order by o.end_at) filter (where o.type = 'month'), '[]') as month,
    coalesce(json_agg(o.record order by o.end_at) filter (where o.type = 'year'), '[]') as year
  from (
    select
      s.type, s.end_at,
      json_build_array(
        s.usage_id, s.type, s.begin_at, s.end_at, s.measurements, s.memory, s.diskspace, s.traffic, s.cputime
      ) as record
    from stored s
  ) o
) h
where u.id = :usage_id;

-- name: current(usage_id)^
-- record_class: UsageRecord
-- Return an object's newest 5-minute record, of the newest settled window or a later one. “latest” of that type is this.
select r.usage_id, r.type, r.begin_at, r.end_at, r.measurements, r.memory, r.diskspace, r.traffic, r.cputime
from current_usage(:usage_id) r;

-- name: latest(usage_id, type)^
-- record_class: UsageRecord
-- Return an object's newest record of a type longer than 5 minutes. It reads one table, so that a cluster asks one worker.
select r.usage_id, r.type, r.begin_at, r.end_at, r.measurements, r.memory, r.diskspace, r.traffic, r.cputime
from usage_records r
where r.usage_id = :usage_id and r.type = :type
order by r.end_at desc
limit 1;

-- name: totals_by_user(begin, end, after, limit)
-- record_class: UsageTotal
-- Return the use of each user in a period, ordered by user, after a given one.
select u.id, t.begin_at, t.end_at, t.measurements, t.memory, t.diskspace, t.traffic, t.cputime
from users u
cross join lateral usage_total(u.usage_id, :begin, :end) t
where u.id > :after
order by u.id
limit :limit;

-- name: totals_by_organization(begin, end, after, limit)
-- record_class: UsageTotal
-- Return the use of each organization in a period, ordered by organization, after a given one.
select o.id, t.begin_at, t.end_at, t.measurements, t.memory, t.diskspace, t.traffic, t.cputime
from organizations o
cross join lateral usage_total(o.usage_id, :begin, :end) t
where o.id > :after
order by o.id
limit :limit;
