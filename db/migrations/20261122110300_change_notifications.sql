-- migrate:up

-- Triggers: who listens hears of changed states and removed topologies (tomato_dao/events.py). What is said names the
-- topology only, since equal notifications of a transaction arrive as one. A notification makes commits wait for each
-- other, so there is none without such a change.

create function notify_of_topology() returns trigger language plpgsql as $$
begin
  perform pg_notify('tomato_changes', format('topology %s %s', old.id, tg_argv[0]));
  return null;
end;
$$;
create trigger topologies_state_changed after update on topologies
for each row when (old.timeout_step is distinct from new.timeout_step) execute function notify_of_topology('state');
create trigger topologies_deleted after delete on topologies
for each row execute function notify_of_topology('deleted');

create function notify_of_component() returns trigger language plpgsql as $$
begin
  perform pg_notify('tomato_changes', format('%s %s state', tg_argv[0], new.topology_id));
  return null;
end;
$$;
create trigger elements_state_changed after update on elements
for each row when (old.state is distinct from new.state) execute function notify_of_component('element');
create trigger connections_state_changed after update on connections
for each row when (old.state is distinct from new.state) execute function notify_of_component('connection');

-- migrate:down

drop trigger connections_state_changed on connections;
drop trigger elements_state_changed on elements;
drop function notify_of_component();
drop trigger topologies_deleted on topologies;
drop trigger topologies_state_changed on topologies;
drop function notify_of_topology();
