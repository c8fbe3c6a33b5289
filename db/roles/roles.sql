-- Create the roles of an installation. “make roles” runs it as a superuser or a user with createrole; it can be repeated. Set
-- passwords separately, with “\password tomato_app” in psql.
--
-- tomato_owner   owns the schema: migrations, load, restore; sees all sessions (for the doctor)
-- tomato_app     the workers' role: reads and writes rows and uses sequences, nothing else
-- tomato_reader  read-only: dump, statistics

-- Objects of other users in the schema must not shadow the names used here.
set local search_path = pg_catalog, pg_temp;

do $$
declare
  setting record;
begin
  if to_regrole('tomato_owner') is null then
    create role tomato_owner login createdb;
  end if;
  if to_regrole('tomato_app') is null then
    create role tomato_app login;
  end if;
  if to_regrole('tomato_reader') is null then
    create role tomato_reader login;
  end if;
  if not pg_has_role('tomato_owner', 'member') then
    grant tomato_owner to current_user;
  end if;

  -- Default settings for sessions that do not set them themselves: behind a pooler, or in psql. Values that an operator has set
  -- for a role are kept.
  for setting in
    select s.role, s.name, s.value
    from (
      values
        ('tomato_owner', 'lock_timeout', '10s'),
        ('tomato_owner', 'statement_timeout', '1h'),
        ('tomato_app', 'statement_timeout', '60s'),
        ('tomato_app', 'idle_in_transaction_session_timeout', '60s'),
        ('tomato_reader', 'default_transaction_read_only', 'on')
    ) s (role, name, value)
    where not exists (
      select from pg_db_role_setting d, unnest(d.setconfig) c
      where d.setrole = to_regrole(s.role) and d.setdatabase = 0 and starts_with(c, s.name || '=')
    )
  loop
    execute format('alter role %I set %I = %L', setting.role, setting.name, setting.value);
  end loop;
end;
$$;


-- Lets the owner end the workers' sessions during a restore.
grant tomato_app, tomato_reader, pg_monitor to tomato_owner;
