-- migrate:up

-- The role that a user effectively has on a topology, null for none: the highest of a global flag, the explicit permission,
-- and an organization flag where an owner of the topology is of the user's organization. The offset has the planner look for
-- the owners of the topology in question; asked for many users it would gather the owners of all topologies first.
create view topology_roles as
select
  t.id as topology_id,
  u.id as user_id,
  p.role as explicit_role,
  (array['user', 'manager', 'owner'])[
    greatest(
      case
        when 'global_topl_owner' = any(u.flags) then 3
        when 'global_topl_manager' = any(u.flags) then 2
        when 'global_topl_user' = any(u.flags) then 1
      end,
      array_position(array['user', 'manager', 'owner'], p.role),
      case
        when not u.flags && array['orga_topl_owner', 'orga_topl_manager', 'orga_topl_user'] then null
        when not exists (
            select
            from topology_permissions op
            inner join users o on o.id = op.user_id
            where op.topology_id = t.id and op.role = 'owner' and o.organization_id = u.organization_id
            offset 0 -- noqa: AM09
          ) then null
        when 'orga_topl_owner' = any(u.flags) then 3
        when 'orga_topl_manager' = any(u.flags) then 2
        else 1
      end
    )
  ] as role
from topologies t
cross join users u
left join topology_permissions p on p.topology_id = t.id and p.user_id = u.id;

-- migrate:down

drop view topology_roles;
