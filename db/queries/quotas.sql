-- name: get(user_id)^
-- record_class: Quota
-- Return the quota of a user.
select
  q.user_id, q.monthly_memory, q.monthly_diskspace, q.monthly_traffic, q.monthly_cputime, q.used_memory,
  q.used_diskspace, q.used_traffic, q.used_cputime, q.used_at, q.continuous_factor
from quotas q
where q.user_id = :user_id;

-- name: update(user_id, patch)^
-- record_class: Quota
-- Change the columns in the patch.
update quotas q set (
  monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime, used_memory, used_diskspace, used_traffic,
  used_cputime, used_at, continuous_factor
) = (
  select
    r.monthly_memory, r.monthly_diskspace, r.monthly_traffic, r.monthly_cputime, r.used_memory, r.used_diskspace,
    r.used_traffic, r.used_cputime, r.used_at, r.continuous_factor
  from jsonb_populate_record(q, :patch) r
)
where q.user_id = :user_id
returning
  q.user_id, q.monthly_memory, q.monthly_diskspace, q.monthly_traffic, q.monthly_cputime, q.used_memory,
  q.used_diskspace, q.used_traffic, q.used_cputime, q.used_at, q.continuous_factor;

-- name: set(user_id, monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime, continuous_factor)<!
-- record_class: Quota
-- nullable: monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime, continuous_factor
-- one row: settings have one
-- Set a user's allowance, with the default for null; what was used stays.
insert into quotas as q (
  user_id, monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime, continuous_factor
)
select
  :user_id, coalesce(:monthly_memory, s.quota_memory), coalesce(:monthly_diskspace, s.quota_diskspace),
  coalesce(:monthly_traffic, s.quota_traffic), coalesce(:monthly_cputime, s.quota_cputime),
  coalesce(:continuous_factor, s.quota_continuous_factor)
from settings s
on conflict (user_id) do update
  set
    monthly_memory = excluded.monthly_memory,
    monthly_diskspace = excluded.monthly_diskspace,
    monthly_traffic = excluded.monthly_traffic,
    monthly_cputime = excluded.monthly_cputime,
    continuous_factor = excluded.continuous_factor
returning
  q.user_id, q.monthly_memory, q.monthly_diskspace, q.monthly_traffic, q.monthly_cputime, q.used_memory,
  q.used_diskspace, q.used_traffic, q.used_cputime, q.used_at, q.continuous_factor;

-- name: count_use(now)!
-- nullable: now
-- plan: it is about each user
-- Count users' settled 5-minute records that are not counted yet. Rows that another worker is counting or changing are skipped.
-- A record that ends when a month begins belongs to the month before.
with months as materialized (
  select
    usage_period_begin('month', m.ends) as begins,
    300 / extract(epoch from m.ends - usage_period_begin('month', m.ends))::float8 as share
  from (select usage_period_end('month', coalesce(:now, now())) as ends) m
),

users_since as materialized (
  select q.user_id, u.usage_id, q.used_at, p.settled_at
  from quotas q
  inner join users u on u.id = q.user_id
  left join usage_progress p on true
),

-- One query of all users' records: a cluster asks each worker once. The array makes one server use the index.
uncounted as materialized (
  select s.user_id, r.end_at, r.memory, r.diskspace, r.traffic, r.cputime
  from users_since s
  inner join usage_records r on r.usage_id = s.usage_id
  where
    r.usage_id = any(array(select u.usage_id from users_since u)) and r.type = '5minutes'
    and r.end_at > (select min(u.used_at) from users_since u) and r.end_at > s.used_at and r.end_at <= s.settled_at
),

newest as materialized (
  select n.user_id, max(n.end_at) as end_at
  from uncounted n
  group by n.user_id
),

-- Citus can't read the rows of a CTE that locks; those of its subquery it can.
due as materialized (
  select
    l.user_id, l.is_new_month, l.counted_until, l.free_memory, l.free_diskspace, l.free_traffic, l.free_cputime
  from (
    select
      q.user_id, q.used_at <= m.begins as is_new_month,
      greatest(q.used_at, m.begins + interval '1 microsecond') as counted_until,
      q.monthly_memory * q.continuous_factor as free_memory, q.monthly_diskspace * q.continuous_factor as free_diskspace,
      q.monthly_traffic * m.share * q.continuous_factor as free_traffic,
      q.monthly_cputime * m.share * q.continuous_factor as free_cputime
    from quotas q
    -- Not one whose used_at has changed since its records were read.
    inner join users_since s on s.user_id = q.user_id and s.used_at = q.used_at
    cross join months m
    left join newest n on n.user_id = q.user_id
    where q.used_at <= m.begins or n.end_at > q.used_at
    for update of q skip locked
  ) l
),

-- The order makes the last bits the same on all servers.
used as (
  select
    d.user_id, d.is_new_month, greatest(d.counted_until, max(n.end_at)) as used_at,
    sum(usage_beyond(n.memory, d.free_memory) order by n.end_at) as memory,
    sum(usage_beyond(n.diskspace, d.free_diskspace) order by n.end_at) as diskspace,
    sum(usage_beyond(n.traffic, d.free_traffic) order by n.end_at) as traffic,
    sum(usage_beyond(n.cputime, d.free_cputime) order by n.end_at) as cputime
  from due d
  left join uncounted n on n.user_id = d.user_id and n.end_at > d.counted_until
  group by d.user_id, d.is_new_month, d.counted_until
)

update quotas q set
  used_memory = case when n.is_new_month then 0 else q.used_memory end + coalesce(n.memory * m.share, 0),
  used_diskspace = case when n.is_new_month then 0 else q.used_diskspace end + coalesce(n.diskspace * m.share, 0),
  used_traffic = case when n.is_new_month then 0 else q.used_traffic end + coalesce(n.traffic, 0),
  used_cputime = case when n.is_new_month then 0 else q.used_cputime end + coalesce(n.cputime, 0),
  used_at = n.used_at
from used n
cross join months m
where q.user_id = n.user_id;

-- name: enforce(now)
-- record_class: User
-- nullable: now
-- plan: it is about each user
-- Set and clear the flag over_quota. Use in an earlier month does not count.
with changing as materialized (
  select u.id
  from users u
  inner join quotas q on q.user_id = u.id
  where u.flags @> '{new_account}' is false and u.flags @> '{over_quota}' <> (
      q.used_at > usage_period_begin('month', coalesce(:now, now())) and (
        (q.used_memory > 0 and q.used_memory >= q.monthly_memory)
        or (q.used_diskspace > 0 and q.used_diskspace >= q.monthly_diskspace)
        or (q.used_traffic > 0 and q.used_traffic >= q.monthly_traffic)
        or (q.used_cputime > 0 and q.used_cputime >= q.monthly_cputime)
      )
    )
  for update of u skip locked
)

update users u set
  flags = case
    when u.flags @> '{over_quota}' then array_remove(u.flags, 'over_quota') else array_append(u.flags, 'over_quota')
  end
from changing c
where u.id = c.id
returning
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs;
