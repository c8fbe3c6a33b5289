-- name: get(topology_id, user_id)^
-- record_class: TopologyPermission
-- Return the permission of a user on a topology.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.topology_id = :topology_id and p.user_id = :user_id;

-- name: list_of_topology(topology_id)
-- record_class: TopologyPermission
-- Return all permissions on a topology, ordered by user.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.topology_id = :topology_id
order by p.user_id;

-- name: list_of_user(user_id, after, limit)
-- record_class: TopologyPermission
-- Return all permissions of a user, ordered by topology, after a given one.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.user_id = :user_id and p.topology_id > :after
order by p.topology_id
limit :limit;

-- name: set(topology_id, user_id, role)<!
-- record_class: TopologyPermission
-- Give a user a role on a topology, replacing the one it has.
insert into topology_permissions as p (topology_id, user_id, role)
values (:topology_id, :user_id, :role)
on conflict (topology_id, user_id) do update set role = excluded.role
returning p.topology_id, p.user_id, p.role;

-- name: delete(topology_id, user_id)!
-- Remove a user's role on a topology.
delete from topology_permissions p where p.topology_id = :topology_id and p.user_id = :user_id;

-- name: role(topology_id, user_id)^
-- record_class: TopologyRole
-- one row: the view has one for each topology and user
-- Return a user's effective role on a topology.
select r.topology_id, r.user_id, r.explicit_role, r.role
from topology_roles r
where r.topology_id = :topology_id and r.user_id = :user_id;

-- name: matrix(topology_id)
-- record_class: TopologyRole
-- Return all users with an effective role on a topology, ordered by user.
with asked as (
  select p.user_id
  from topology_permissions p
  where p.topology_id = :topology_id
  union
  select u.id
  from users u
  where
    u.flags && array[
      'global_topl_owner', 'global_topl_manager', 'global_topl_user', 'orga_topl_owner', 'orga_topl_manager', 'orga_topl_user'
    ]
)

select r.topology_id, r.user_id, r.explicit_role, r.role
from asked a
inner join topology_roles r on r.user_id = a.user_id and r.topology_id = :topology_id
where r.role is not null
order by r.user_id;
