-- name: get(user_id)^
-- record_class: Quota
-- The quota of a user.
select
  q.user_id, q.monthly_memory, q.monthly_diskspace, q.monthly_traffic, q.monthly_cputime, q.used_memory,
  q.used_diskspace, q.used_traffic, q.used_cputime, q.used_at, q.continuous_factor
from quotas q
where q.user_id = :user_id;

-- name: update(user_id, patch)^
-- record_class: Quota
-- Change the columns that the patch names.
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
