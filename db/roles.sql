-- The roles of an installation and what they may do in this database; “make roles” runs it, as often as one likes, as a
-- superuser or a user that may create roles. Passwords are set apart: “\password tomato_app” in psql.
--
-- tomato_owner   owns the layout: migrations, load, restore; looks at all sessions for the doctor
-- tomato_app     what workers connect as: reads and writes rows (and draws ids), and nothing else
-- tomato_reader  reads: dump, statistics

do $$
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
end;
$$;

-- The owner may end the workers' sessions for a restore.
grant tomato_app, tomato_reader, pg_monitor to tomato_owner;

-- What pooled connections ask for themselves, for those that can't: behind a pooler, or by hand.
alter role tomato_owner set lock_timeout = '10s';
alter role tomato_owner set statement_timeout = '1h';
alter role tomato_app set statement_timeout = '60s';
alter role tomato_app set idle_in_transaction_session_timeout = '60s';
alter role tomato_reader set default_transaction_read_only = on;

-- What is there already becomes the owner's.
do $$
declare
  command text;
begin
  for command in
    select format('alter database %I owner to tomato_owner', current_database())
    union all
    select 'alter schema public owner to tomato_owner'
    union all
    select format(
      'alter %s %s owner to tomato_owner',
      case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
      c.oid::regclass
    )
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
    union all
    select format('alter routine %s owner to tomato_owner', p.oid::regprocedure)
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select format('alter type %s owner to tomato_owner', t.oid::regtype)
    from pg_type t
    where t.typnamespace = 'public'::regnamespace and t.typtype in ('d', 'e')
      and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
  loop
    execute command;
  end loop;
  execute format('revoke temporary on database %I from public', current_database());
  execute format('grant connect on database %I to tomato_app, tomato_reader', current_database());
end;
$$;

revoke create on schema public from public;
grant usage on schema public to tomato_app, tomato_reader;
grant select, insert, update, delete on all tables in schema public to tomato_app;
grant select on all tables in schema public to tomato_reader;
grant usage on all sequences in schema public to tomato_app; -- an import takes ids before it inserts
grant select on all sequences in schema public to tomato_reader;
do $$
begin
  if to_regclass('schema_migrations') is not null then
    revoke insert, update, delete on schema_migrations from tomato_app;
  end if;
end;
$$;

-- What a migration makes: it runs as the owner, whoever starts it.
alter default privileges for role tomato_owner in schema public
grant select, insert, update, delete on tables to tomato_app;
alter default privileges for role tomato_owner in schema public
grant usage on sequences to tomato_app;
alter default privileges for role tomato_owner in schema public
grant select on tables to tomato_reader;
alter default privileges for role tomato_owner in schema public
grant select on sequences to tomato_reader;
