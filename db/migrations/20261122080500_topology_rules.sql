-- migrate:up

-- The rules that a constraint can't express. A rule refuses with an SQLSTATE of class TD (see tomato_dao/errors.py)
-- and names itself as the constraint. Rules are off during a load.

-- Trigger: an element goes only when nothing runs for it any more.
create function refuse_removal() returns trigger language plpgsql as $$
begin
  raise exception 'element % is %', old.id, old.state
  using errcode = 'TD001', constraint = 'elements_removable', table = 'elements';
end;
$$;
create trigger elements_removable before delete on elements
for each row when (
  not (
    old.state = 'created'
    or (old.state = 'prepared' and old.type in ('kvmqm_interface', 'openvz_interface', 'repy_interface'))
  )
)
execute function refuse_removal();

-- Trigger: an element takes its connection along.
create function remove_connections() returns trigger language plpgsql as $$
begin
  delete from connections c using removed r where c.id = r.connection_id;
  return null;
end;
$$;
create trigger elements_connections_removed after delete on elements
referencing old table as removed for each statement execute function remove_connections();

-- Trigger, at commit: a connection has exactly two ends. The lock makes two transactions that change one connection
-- look one after the other.
create function check_two_ends() returns trigger language plpgsql as $$
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
create constraint trigger connections_two_ends after insert on connections
deferrable initially deferred for each row execute function check_two_ends();
create constraint trigger elements_inserted_two_ends after insert on elements
deferrable initially deferred for each row when (new.connection_id is not null) execute function check_two_ends();
create constraint trigger elements_updated_two_ends after update of connection_id on elements
deferrable initially deferred for each row when (old.connection_id is distinct from new.connection_id)
execute function check_two_ends();

-- Trigger: the last owner stays. Two removals at once must meet: the update makes the second wait for the first and then
-- look again, or fail where its snapshot is older (repeatable read).
create function check_last_owner() returns trigger language plpgsql as $$
begin
  update topologies set name = name where id = old.topology_id;
  if found and not exists (select from topology_permissions where topology_id = old.topology_id and role = 'owner') then
    raise exception 'user % is the last owner of topology %', old.user_id, old.topology_id
    using errcode = 'TD003', constraint = 'topology_permissions_last_owner', table = 'topology_permissions';
  end if;
  return null;
end;
$$;
create trigger topology_permissions_owner_removed after delete on topology_permissions
for each row when (old.role = 'owner') execute function check_last_owner();
create trigger topology_permissions_owner_lowered after update on topology_permissions
for each row when (old.role = 'owner' and (new.role <> 'owner' or new.topology_id <> old.topology_id))
execute function check_last_owner();

-- migrate:down

drop trigger topology_permissions_owner_lowered on topology_permissions;
drop trigger topology_permissions_owner_removed on topology_permissions;
drop function check_last_owner();
drop trigger elements_updated_two_ends on elements;
drop trigger elements_inserted_two_ends on elements;
drop trigger connections_two_ends on connections;
drop function check_two_ends();
drop trigger elements_connections_removed on elements;
drop function remove_connections();
drop trigger elements_removable on elements;
drop function refuse_removal();
