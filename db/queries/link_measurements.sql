-- name: list_between(site_a_id, site_b_id, type, after, until, limit)
-- record_class: LinkMeasurement
-- Return the measurements of a type between two sites, in either order, by their end: after one time, until another.
select
  m.site_a_id, m.site_b_id, m.type, m.begin_at, m.end_at, m.loss, m.delay_avg, m.delay_stddev, m.measurements
from link_measurements m
where
  m.site_a_id = least(:site_a_id::bigint, :site_b_id::bigint)
  and m.site_b_id = greatest(:site_a_id::bigint, :site_b_id::bigint)
  and m.type = :type
  and m.end_at > :after
  and m.end_at <= :until
order by m.end_at
limit :limit;

-- name: history(site_a_name, site_b_name)^
-- record_class: LinkHistory
-- Return all measurements between two sites, in either order, by type and ordered by time.
select
  a.id as site_a_id, a.name as site_a_name, b.id as site_b_id, b.name as site_b_name,
  h.single, h.five_minutes, h.hour, h.day, h.month, h.year
from sites one
inner join sites other on other.name = :site_b_name
inner join sites a on a.id = least(one.id, other.id)
inner join sites b on b.id = greatest(one.id, other.id)
cross join
  lateral (
    select
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = 'single'), '[]') as single,
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = '5minutes'), '[]') as five_minutes,
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = 'hour'), '[]') as hour,
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = 'day'), '[]') as day,
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = 'month'), '[]') as month,
      coalesce(json_agg(o.measurement order by o.end_at) filter (where o.type = 'year'), '[]') as year
    from (
      select
        m.type, m.end_at,
        json_build_array(
          m.site_a_id, m.site_b_id, m.type, m.begin_at, m.end_at, m.loss, m.delay_avg, m.delay_stddev, m.measurements
        ) as measurement
      from link_measurements m
      where m.site_a_id = a.id and m.site_b_id = b.id
    ) o
  ) h
where one.name = :site_a_name;

-- name: store(site_a_id, site_b_id, type, begin_at, end_at, loss, delay_avg, delay_stddev, measurements)!
-- Store a measurement between two sites, in either order. Return no row if it exists already.
insert into link_measurements (
  site_a_id, site_b_id, type, begin_at, end_at, loss, delay_avg, delay_stddev, measurements
)
values (
  least(:site_a_id::bigint, :site_b_id::bigint), greatest(:site_a_id::bigint, :site_b_id::bigint), :type,
  :begin_at::timestamptz, :end_at::timestamptz, :loss, :delay_avg, :delay_stddev, :measurements
)
on conflict (site_a_id, site_b_id, type, end_at) do nothing;

-- name: store_all(site_a_ids, site_b_ids, types, begin_ats, end_ats, losses, delay_avgs, delay_stddevs, measurements)!
-- Store measurements that do not exist yet, in the order of their keys, so that two such statements cannot deadlock.
insert into link_measurements (
  site_a_id, site_b_id, type, begin_at, end_at, loss, delay_avg, delay_stddev, measurements
)
select
  least(g.site_a_id, g.site_b_id) as low_id, greatest(g.site_a_id, g.site_b_id) as high_id, g.type, g.begin_at, g.end_at,
  g.loss, g.delay_avg, g.delay_stddev, g.measurements
from unnest(
    :site_a_ids::bigint [], :site_b_ids::bigint [], :types::text [], :begin_ats::timestamptz [], :end_ats::timestamptz [],
    :losses::double precision [], :delay_avgs::double precision [], :delay_stddevs::double precision [],
    :measurements::integer []
  ) g (site_a_id, site_b_id, type, begin_at, end_at, loss, delay_avg, delay_stddev, measurements)
order by low_id, high_id, g.type, g.end_at
on conflict (site_a_id, site_b_id, type, end_at) do nothing;
