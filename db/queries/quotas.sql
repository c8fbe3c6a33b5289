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
-- Count users' settled 5-minute records that are not counted yet. Rows that another worker is counting are skipped.
-- A record that ends when a month begins belongs to the month before.
with months as materialized (
  select
    p.settled_at, usage_period_begin('month', m.ends) as begins,
    300 / extract(epoch from m.ends - usage_period_begin('month', m.ends))::float8 as share
  from (select usage_period_end('month', coalesce(:now, now())) as ends) m
  left join usage_progress p on true
),

due as materialized (
  select
    q.user_id, q.used_at <= m.begins as is_new_month,
    greatest(q.used_at, m.begins + interval '1 microsecond') as counted_until
  from quotas q
  cross join months m
  where q.used_at <= m.begins or (
      select n.end_at
      from users u
      cross join lateral newest_usage(u.usage_id, q.used_at, m.settled_at) n
      where u.id = q.user_id
    ) is not null
  for update of q skip locked
)

update quotas q set
  used_memory = case when d.is_new_month then 0 else q.used_memory end + coalesce(n.memory * m.share, 0),
  used_diskspace = case when d.is_new_month then 0 else q.used_diskspace end + coalesce(n.diskspace * m.share, 0),
  used_traffic = case when d.is_new_month then 0 else q.used_traffic end + coalesce(n.traffic, 0),
  used_cputime = case when d.is_new_month then 0 else q.used_cputime end + coalesce(n.cputime, 0),
  used_at = greatest(d.counted_until, n.end_at)
from due d
cross join months m
inner join quotas l on l.user_id = d.user_id
inner join users u on u.id = d.user_id
cross join
  lateral usage_beyond_free(
    u.usage_id, d.counted_until, m.settled_at, l.monthly_memory * l.continuous_factor,
    l.monthly_diskspace * l.continuous_factor, l.monthly_traffic * m.share * l.continuous_factor,
    l.monthly_cputime * m.share * l.continuous_factor
  ) n
where q.user_id = d.user_id;

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
