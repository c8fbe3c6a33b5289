-- name: get(id)^
-- record_class: User
-- Return the user with this id.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs
from users u
where u.id = :id;

-- name: list(organization_id, flag, after, limit)
-- record_class: User
-- optional: organization_id, flag
-- Return all users, or those of an organization, or with a flag, ordered by id, after a given one.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs
from users u
where
  u.id > :after
  and u.organization_id = :organization_id -- if: organization_id
  and u.flags @> array[:flag::text] -- if: flag
order by u.id
limit :limit;

-- name: list_alphabetically(organization_id, flag, after_name, after_origin, limit)
-- record_class: User
-- optional: organization_id, flag, after_name, after_origin
-- order: name = u.name, u.origin
-- Return all users, or those of an organization or with a flag, ordered by name and origin.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs
from users u
where true
  and u.organization_id = :organization_id -- if: organization_id
  and u.flags @> array[:flag::text] -- if: flag
  and (u.name, u.origin) > (:after_name, :after_origin) -- after: name
order by u.name, u.origin -- order
limit :limit;

-- name: list_full(id, organization_id, flag, after, limit)
-- record_class: FullUser
-- optional: id, organization_id, flag
-- Return all users, or one, or those of an organization or with a flag, ordered by id, after a given one, each with the
-- organization's name, quota and current 5-minute usage.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs, o.name as organization_name,
  (
    select
      json_build_array(
        q.user_id, q.monthly_memory, q.monthly_diskspace, q.monthly_traffic, q.monthly_cputime, q.used_memory,
        q.used_diskspace, q.used_traffic, q.used_cputime, q.used_at, q.continuous_factor
      )
    from quotas q
    where q.user_id = u.id
  ) as quota,
  (
    select
      json_build_array(
        r.usage_id, r.type, r.begin_at, r.end_at, r.measurements, r.memory, r.diskspace, r.traffic, r.cputime
      )
    from current_usage(u.usage_id) r
  ) as usage
from users u
inner join organizations o on o.id = u.organization_id
where
  u.id > :after
  and u.id = :id -- if: id
  and u.organization_id = :organization_id -- if: organization_id
  and u.flags @> array[:flag::text] -- if: flag
order by u.id
limit :limit;

-- name: update(id, patch)^
-- record_class: User
-- Change the columns in the patch. A new password hash sets password_at to now, and null sets it to null.
update users u set (
  name, origin, organization_id, realname, email, flags, password_hash, password_at, last_login_at
) = (
  select
    r.name, r.origin, r.organization_id, r.realname, r.email, r.flags, r.password_hash,
    case
      when :patch::jsonb ? 'password_at' or not :patch::jsonb ? 'password_hash' then r.password_at
      when r.password_hash is not null then now()
    end,
    r.last_login_at
  from jsonb_populate_record(u, :patch) r
)
where u.id = :id
returning
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update users u set attrs = (u.attrs || :set::jsonb) - :remove::text[]
where u.id = :id
returning u.attrs;

-- name: delete(id)!
-- Delete a user.
delete from users u where u.id = :id;

-- name: create(name, origin, organization_id, realname, email, flags, password_hash, attrs)<!
-- record_class: User
-- nullable: password_hash
-- Create a user, with the default quota.
with made as (
  insert into users as u (name, origin, organization_id, realname, email, flags, password_hash, password_at, attrs)
  select
    g.name, g.origin, g.organization_id, g.realname, g.email, g.flags, g.password_hash,
    case when g.password_hash is not null then now() end, g.attrs
  from (
    values (
      :name::text, :origin::text, :organization_id::bigint, :realname::text, :email::text, :flags::text[],
      :password_hash::text, :attrs::jsonb
    )
  ) g (name, origin, organization_id, realname, email, flags, password_hash, attrs)
  returning
    u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
    u.last_login_at, u.usage_id, u.attrs
),

quota as (
  insert into quotas (
    user_id, monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime, continuous_factor
  )
  select m.id, s.quota_memory, s.quota_diskspace, s.quota_traffic, s.quota_cputime, s.quota_continuous_factor
  from made m
  cross join settings s
)

select
  m.id, m.name, m.origin, m.organization_id, m.realname, m.email, m.flags, m.password_hash, m.password_at,
  m.last_login_at, m.usage_id, m.attrs
from made m;

-- name: get_by_name(name, origin)^
-- record_class: User
-- Return the user with this name from this login provider.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs
from users u
where u.name = :name and u.origin = :origin;

-- name: list_by_name(name)
-- record_class: User
-- Return all users with this name, one per login provider.
select
  u.id, u.name, u.origin, u.organization_id, u.realname, u.email, u.flags, u.password_hash, u.password_at,
  u.last_login_at, u.usage_id, u.attrs
from users u
where u.name = :name
order by u.id;

-- name: add_flag(id, flag)^
-- Add a flag, and return the user's flags.
update users u set flags = case when :flag::text = any(u.flags) then u.flags else u.flags || :flag::text end
where u.id = :id
returning u.flags;

-- name: remove_flag(id, flag)^
-- Remove a flag, and return the user's flags.
update users u set flags = array_remove(u.flags, :flag)
where u.id = :id
returning u.flags;

-- name: touch_login(id)!
-- Record that the user logged in now.
update users u set last_login_at = now() where u.id = :id;

-- name: expire_passwords(origin, age)!
-- Clear a login provider's password hashes that are older than an age or of unknown age.
update users u set password_hash = null, password_at = null
where
  u.origin = :origin and u.password_hash is not null
  and (u.password_at <= now() - :age::interval or u.password_at is null);

-- name: expire(origin, age)<!
-- record_class: ExpiredUsers
-- plan: done once a day, and most owners are not looked up one by one
-- Delete the users of a login provider whose last login is older than an age, except the only owners of topologies.
-- If all owners of a topology expire, the first is kept.
with due as materialized (
  select u.id, u.name, u.origin, u.organization_id
  from users u
  where u.origin = :origin and u.last_login_at <= now() - :age::interval
),

kept as materialized (
  select d.id
  from due d
  inner join topology_permissions p on p.user_id = d.id and p.role = 'owner'
  where not exists (
      select
      from topology_permissions o
      left join due od on od.id = o.user_id
      where
        o.topology_id = p.topology_id and o.role = 'owner' and o.user_id <> d.id
        and (od.id is null or od.id < d.id)
    )
),

gone as (
  delete from users u
  using due d
  where u.id = d.id and u.last_login_at <= now() - :age::interval and d.id not in (select k.id from kept k)
  returning u.id
)

select
  (select coalesce(json_agg(u.contact order by u.id), '[]') from gone g inner join contacts u on u.id = g.id) as removed,
  (select coalesce(json_agg(u.contact order by u.id), '[]') from contacts u where u.id in (select k.id from kept k)) as kept;
