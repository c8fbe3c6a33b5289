-- Set the privileges of tomato_app and tomato_reader in a database of tomato_owner, regardless of earlier grants. Run by “make
-- roles”, and at the end of every migration and restore of such a database, so that their order makes no difference.

do $$
declare
  command text;
begin
  execute format('revoke create, temporary on database %I from public', current_database());
  execute format('revoke all on database %I from tomato_app, tomato_reader', current_database());
  execute format('grant connect on database %I to tomato_app, tomato_reader', current_database());

  -- Change only objects with wrong privileges, since each change locks its object.
  for command in
    select g.command
    from pg_class c
    cross join lateral (
      select
        case c.relkind when 'S' then 'sequence' else 'table' end as kind,
        case
          when c.relkind = 'S' then 'USAGE' -- an import takes ids before it inserts
          when c.relname in ('schema_migrations', 'migration_lock') then 'SELECT'
          else 'DELETE,INSERT,SELECT,UPDATE'
        end as of_app
    ) w
    cross join lateral (
      values
        (1, format('revoke all on %s %s from public, tomato_app, tomato_reader', w.kind, c.oid::regclass)),
        (2, format('grant %s on %s %s to tomato_app', w.of_app, w.kind, c.oid::regclass)),
        (3, format('grant select on %s %s to tomato_reader', w.kind, c.oid::regclass))
    ) g (step, command)
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      and c.relowner = 'tomato_owner'::regrole
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
      and (
        exists (select from pg_attribute a where a.attrelid = c.oid and a.attacl is not null)
        or exists (select from aclexplode(c.relacl) x where x.is_grantable and x.grantee <> c.relowner)
        or array[
          (select string_agg(x.privilege_type, ',') from aclexplode(c.relacl) x where x.grantee = 0),
          (
            select string_agg(x.privilege_type, ',' order by x.privilege_type)
            from aclexplode(c.relacl) x
            where x.grantee = 'tomato_app'::regrole
          ),
          (select string_agg(x.privilege_type, ',') from aclexplode(c.relacl) x where x.grantee = 'tomato_reader'::regrole)
        ] is distinct from array[null, w.of_app, 'SELECT']
      )
    order by c.oid, g.step
  loop
    execute command;
  end loop;

  -- Nothing here uses large objects, which could fill the disk unnoticed. Only a superuser can revoke their creation.
  if (select r.rolsuper from pg_roles r where r.rolname = current_user) then
    for command in
      select format('revoke execute on function %s from public', p.oid::regprocedure)
      from pg_proc p
      where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea')
    loop
      execute command;
    end loop;
  end if;
end;
$$;

revoke create on schema public from public;
revoke all on schema public from tomato_app, tomato_reader;
grant usage on schema public to tomato_app, tomato_reader;

-- Privileges on objects of later migrations, which always run as tomato_owner.
alter default privileges for role tomato_owner in schema public revoke all on tables from tomato_app, tomato_reader;
alter default privileges for role tomato_owner in schema public revoke all on sequences from tomato_app, tomato_reader;
alter default privileges for role tomato_owner in schema public
grant select, insert, update, delete on tables to tomato_app;
alter default privileges for role tomato_owner in schema public
grant usage on sequences to tomato_app;
alter default privileges for role tomato_owner in schema public
grant select on tables to tomato_reader;
alter default privileges for role tomato_owner in schema public
grant select on sequences to tomato_reader;
