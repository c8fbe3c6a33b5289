-- migrate:up

-- The rules that a constraint can't express. A rule refuses with an SQLSTATE of class TD (see tomato_dao/errors.py) and
-- names itself as the constraint. Rules are off during a load.

-- Defaults of a new topology, element or connection.

-- A trigger function: it names a topology by its id.
create function name_topology() returns trigger language plpgsql set search_path from current as $$
begin
  new.name := 'Topology #' || new.id;
  return new;
end;
$$;

-- A topology has a name.
create trigger topologies_named
before insert on topologies
for each row when (new.name = '')
execute function name_topology();

-- A trigger function: it names an element by its type and id, an interface by the lowest number that is free in its machine.
-- The lock makes interfaces that come at the same time see each other.
create function name_element() returns trigger language plpgsql set search_path from current as $$
declare
  own_name text := new.type || new.id;
begin
  if new.parent_id is not null then
    perform from elements where id = new.parent_id for no key update;
    select 'eth' || min(n) into own_name
    from generate_series(0, (select count(*) from elements s where s.parent_id = new.parent_id)) n
    where not exists (select from elements s where s.parent_id = new.parent_id and s.attrs ->> 'name' = 'eth' || n);
  end if;
  new.attrs := new.attrs || jsonb_build_object('name', own_name);
  return new;
end;
$$;

-- Machines, their interfaces, switches and networks have names; endpoints need none.
create trigger elements_named
before insert on elements
for each row when (coalesce(new.attrs ->> 'name', '') = '' and new.type !~ '_endpoint$')
execute function name_element();

-- A trigger function: it gives an element its topology's site.
create function place_element() returns trigger language plpgsql set search_path from current as $$
begin
  select t.site_id into new.site_id from topologies t where t.id = new.topology_id;
  return new;
end;
$$;

-- A machine prefers the site that its topology prefers.
create trigger elements_placed
before insert on elements
for each row when (new.site_id is null and new.type in ('kvmqm', 'openvz', 'repy'))
execute function place_element();

-- The attrs of a new connection: those that are given, and link emulation that changes nothing yet.
create function new_connection_attrs(given jsonb) returns jsonb language sql immutable
return '{"emulation": true, "bandwidth_to": 10000, "bandwidth_from": 10000}'::jsonb || given;

-- A trigger function: it refuses the statement.
create function refuse_removal() returns trigger language plpgsql
set search_path from current
as $$
begin
  raise exception 'element % is %', old.id, old.state
  using errcode = 'TD001', constraint = 'elements_removable', table = 'elements';
end;
$$;

-- An element can be removed only when nothing runs for it any more.
create trigger elements_removable
before delete on elements
for each row when (
  not (
    old.state = 'created'
    or (old.state = 'prepared' and old.type in ('kvmqm_interface', 'openvz_interface', 'repy_interface'))
  )
)
execute function refuse_removal();

-- A trigger function: it removes the connections of deleted elements.
create function remove_connections() returns trigger language plpgsql
set search_path from current
as $$
begin
  delete from connections c using removed r where c.id = r.connection_id;
  return null;
end;
$$;

-- An element takes its connection along, since a connection with one end is none.
create trigger elements_connections_removed
after delete on elements
referencing old table as removed
for each statement
execute function remove_connections();

-- A trigger function: a connection must have exactly two ends. The lock makes two transactions that change the same
-- connection check it one after the other.
create function check_two_ends() returns trigger language plpgsql
set search_path from current
as $$
declare
  ids bigint[];
  changed bigint;
begin
  if tg_table_name = 'connections' then
    ids := array[new.id];
  elsif tg_op = 'INSERT' then
    ids := array[new.connection_id];
  else
    ids := array_remove(array[old.connection_id, new.connection_id], null);
  end if;
  foreach changed in array ids loop
    perform from connections where id = changed for no key update;
    if found and (select count(*) from elements where connection_id = changed) <> 2 then
      raise exception 'connection % would not have exactly two ends', changed
      using errcode = 'TD002', constraint = 'connections_two_ends', table = 'connections';
    end if;
  end loop;
  return null;
end;
$$;

-- The check comes at commit, because a connection and its ends take several statements. A new connection needs its ends.
create constraint trigger connections_two_ends
after insert on connections
deferrable initially deferred
for each row
execute function check_two_ends();

-- A new element could be a third end.
create constraint trigger elements_inserted_two_ends
after insert on elements
deferrable initially deferred
for each row when (new.connection_id is not null)
execute function check_two_ends();

-- An element that changes its connection may leave one end there, or come as a third.
create constraint trigger elements_updated_two_ends
after update of connection_id on elements
deferrable initially deferred
for each row when (old.connection_id is distinct from new.connection_id)
execute function check_two_ends();

-- A load has triggers off, and checks their rules for all rows at once: it reads the view of the constraint trigger's name,
-- whose rows are the rule's exceptions and whose comment is the message.
create view connections_two_ends as
select
  c.id,
  case count(e.id) when 1 then '1 end' else count(e.id) || ' ends' end as broken
from connections c
left join elements e on e.connection_id = c.id
group by c.id
having count(e.id) <> 2;

comment on view connections_two_ends is 'connections need exactly two ends';

-- A trigger function: the last owner of a topology stays. Two removals at the same time must meet: the update makes the
-- second wait for the first and then look again, or fail if its snapshot is older (repeatable read).
create function check_last_owner() returns trigger language plpgsql
set search_path from current
as $$
begin
  update topologies set name = name where id = old.topology_id;
  if found and not exists (select from topology_permissions where topology_id = old.topology_id and role = 'owner') then
    raise exception 'user % is the last owner of topology %', old.user_id, old.topology_id
    using errcode = 'TD003', constraint = 'topology_permissions_last_owner', table = 'topology_permissions';
  end if;
  return null;
end;
$$;

-- An owner's permission is removed.
create trigger topology_permissions_owner_removed
after delete on topology_permissions
for each row when (old.role = 'owner')
execute function check_last_owner();

-- An owner gets a lower role, or the permission moves to another topology.
create trigger topology_permissions_owner_lowered
after update on topology_permissions
for each row when (old.role = 'owner' and (new.role <> 'owner' or new.topology_id <> old.topology_id))
execute function check_last_owner();

-- Listeners are notified of changed states and removed topologies (tomato_dao/events.py). A notification names the topology
-- only, since equal notifications of a transaction arrive as one. Notifications make commits wait for each other, so nothing
-- is sent without such a change.

-- A trigger function: it notifies of a topology.
create function notify_of_topology() returns trigger language plpgsql
set search_path from current
as $$
begin
  perform pg_notify('tomato_changes', format('topology %s %s', old.id, tg_argv[0]));
  return null;
end;
$$;

-- A step of the timeout is a topology's change of state.
create trigger topologies_state_changed
after update on topologies
for each row when (old.timeout_step is distinct from new.timeout_step)
execute function notify_of_topology('state');

-- A removed topology is told once; the removal of its elements is not.
create trigger topologies_deleted
after delete on topologies
for each row
execute function notify_of_topology('deleted');

-- A trigger function: it notifies of an element or a connection.
create function notify_of_component() returns trigger language plpgsql
set search_path from current
as $$
begin
  perform pg_notify('tomato_changes', format('%s %s state', tg_argv[0], new.topology_id));
  return null;
end;
$$;

-- An element's change of state.
create trigger elements_state_changed
after update on elements
for each row when (old.state is distinct from new.state)
execute function notify_of_component('element');

-- A connection's change of state.
create trigger connections_state_changed
after update on connections
for each row when (old.state is distinct from new.state)
execute function notify_of_component('connection');

-- migrate:down

drop trigger connections_state_changed on connections;
drop trigger elements_state_changed on elements;
drop function notify_of_component();
drop trigger topologies_deleted on topologies;
drop trigger topologies_state_changed on topologies;
drop function notify_of_topology();
drop trigger topology_permissions_owner_lowered on topology_permissions;
drop trigger topology_permissions_owner_removed on topology_permissions;
drop function check_last_owner();
drop view connections_two_ends;
drop trigger elements_updated_two_ends on elements;
drop trigger elements_inserted_two_ends on elements;
drop trigger connections_two_ends on connections;
drop function check_two_ends();
drop trigger elements_connections_removed on elements;
drop function remove_connections();
drop trigger elements_removable on elements;
drop function refuse_removal();
drop function new_connection_attrs(jsonb);
drop trigger elements_placed on elements;
drop function place_element();
drop trigger elements_named on elements;
drop function name_element();
drop trigger topologies_named on topologies;
drop function name_topology();
