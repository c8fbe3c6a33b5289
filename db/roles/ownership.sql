-- Make tomato_owner the owner of this database and of everything in it. Run by “make roles”, and by a restore into a database
-- of tomato_owner.

do $$
declare
  command text;
begin
  for command in
    select format('alter database %I owner to tomato_owner', d.datname)
    from pg_database d
    where d.datname = current_database() and d.datdba <> 'tomato_owner'::regrole
    union all
    select 'alter schema public owner to tomato_owner'
    from pg_namespace n
    where n.nspname = 'public' and n.nspowner <> 'tomato_owner'::regrole
    union all
    select format(
      'alter %s %s owner to tomato_owner',
      case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
      c.oid::regclass
    )
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      and c.relowner <> 'tomato_owner'::regrole
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
    union all
    select format('alter routine %s owner to tomato_owner', p.oid::regprocedure)
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proowner <> 'tomato_owner'::regrole
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select format('alter type %s owner to tomato_owner', t.oid::regtype)
    from pg_type t
    where t.typnamespace = 'public'::regnamespace and t.typtype in ('d', 'e') and t.typowner <> 'tomato_owner'::regrole
      and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
  loop
    execute command;
  end loop;
end;
$$;
