-- name: get(topology_id, user_id)^
-- record_class: TopologyPermission
-- The permission of a user on a topology.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.topology_id = :topology_id and p.user_id = :user_id;

-- name: list_of_topology(topology_id)
-- record_class: TopologyPermission
-- All permissions on a topology, by user.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.topology_id = :topology_id
order by p.user_id;

-- name: list_of_user(user_id, after, limit)
-- record_class: TopologyPermission
-- All permissions of a user, by topology, after that one.
select p.topology_id, p.user_id, p.role
from topology_permissions p
where p.user_id = :user_id and p.topology_id > :after
order by p.topology_id
limit :limit;

-- name: set(topology_id, user_id, role)<!
-- record_class: TopologyPermission
-- Give a user a role on a topology, instead of the one it has there.
insert into topology_permissions as p (topology_id, user_id, role)
values (:topology_id, :user_id, :role)
on conflict (topology_id, user_id) do update set role = excluded.role
returning p.topology_id, p.user_id, p.role;

-- name: delete(topology_id, user_id)!
-- Take a user's role on a topology away.
delete from topology_permissions p where p.topology_id = :topology_id and p.user_id = :user_id;
