-- migrate:up
-- Applied before all migrations, and recorded in a temporary table: fails where dbmate is not in the database that it is to
-- migrate, whose identity (tomato_dao/server/target.py) the session has in the setting tomato.database.
do $$
declare
  server text;
  found text;
begin
  if has_function_privilege('pg_control_system()', 'execute') then
    select c.system_identifier::text into server from pg_control_system() c;
  else
    server := extract(epoch from pg_postmaster_start_time())::text;
  end if;
  select format('%s/%s/%s', server, d.oid, d.datname) into found
  from pg_database d where d.datname = current_database();
  if found is distinct from current_setting('tomato.database', true) then
    raise exception 'it is in the database %, not in %', found, current_setting('tomato.database', true);
  end if;
end;
$$;

-- migrate:down
