-- What else makes a record an offence: the layout's own rules, read from its catalogue.

-- What a record says differently from the one that it is merged into.
create function pg_temp.difference(merged jsonb, kept jsonb) returns jsonb language sql as $$
  select coalesce(jsonb_object_agg(m.key, m.value), '{}')
  from jsonb_each(merged) m
  where m.key not in ('id', 'pk') and m.value is distinct from kept -> m.key;
$$;

-- A staged table's part in the layout: the table that its rows are for.
create temp view targets (target, staged) as
select t.oid, s.relname
from pg_class s
inner join pg_class t on 'staged_' || t.relname = s.relname and t.relnamespace <> pg_my_temp_schema()
where s.relnamespace = pg_my_temp_schema();

-- The layout's constraints, each with a query for the records that break it.
create temp view rules (search) as
select
  format(
    $sql$
      insert into offences (model, pk, columns, rule, round)
      select s.model, s.pk, array[%1$L], 'may not be null', $1
      from %2$I s
      where s.%1$I is null and not exists (select from offences o where o.model = s.model and o.pk = s.pk)
    $sql$,
    a.attname, t.staged
  )
from targets t
inner join pg_attribute a on a.attrelid = t.target and a.attnum > 0 and a.attnotnull and not a.attisdropped
union all
select
  case k.contype
    when 'c' then format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round)
        select s.model, s.pk, %1$L, concat_ws(', ', %2$s), %3$L, $1
        from %4$I s
        where not (%5$s)
      $sql$,
      n.columns, n.list, k.conname, t.staged, pg_get_expr(k.conbin, k.conrelid)
    )
    when 'f' then format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round, costs)
        select s.model, s.pk, array[%1$L], s.%1$I::text, %2$L, $1, %3$L
        from %4$I s
        where (%5$s) is not null and not exists (select from %6$I r where (%7$s) = (%5$s))
      $sql$,
      n.reference, k.conname, case k.confdeltype when 'n' then 'reference' else 'record' end,
      t.staged, n.list, r.staged, n.referenced
    )
    else format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round)
        select d.model, d.pk, %1$L, d.value, %2$L, $1
        from (
          select
            s.model, s.pk, concat_ws(', ', %3$s) as value,
            row_number() over (partition by %3$s order by length(s.pk), s.pk) as n
          from %4$I s
          where (%3$s) in (select %3$s from %4$I s group by %3$s having count(*) > 1)
        ) d
        where d.n > 1
      $sql$,
      n.columns, k.conname, n.list, t.staged
    )
  end
from targets t
inner join pg_constraint k on k.conrelid = t.target and k.contype in ('c', 'f', 'p', 'u')
left join targets r on r.target = k.confrelid
cross join lateral (
  select
    array_agg(a.attname order by u.n) as columns,
    string_agg('s.' || quote_ident(a.attname), ', ' order by u.n) as list,
    string_agg('r.' || quote_ident(f.attname), ', ' order by u.n) as referenced,
    -- the column that names the one thing, where others only make sure that it fits
    min(a.attname) filter (where f.attname in ('id', 'group_id')) as reference
  from unnest(k.conkey, k.confkey) with ordinality u (attnum, referenced_attnum, n)
  inner join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
  left join pg_attribute f on f.attrelid = k.confrelid and f.attnum = u.referenced_attnum
) n;

-- Whose usage identity is whose.
create temp view identities (model, pk, usage_id) as
select t.model, t.pk, t.usage_id from staged_organizations t
union all
select t.model, t.pk, t.usage_id from staged_users t
union all
select t.model, t.pk, t.usage_id from staged_hosts t
union all
select t.model, t.pk, t.usage_id from staged_topologies t
union all
select t.model, t.pk, t.usage_id from staged_elements t
union all
select t.model, t.pk, t.usage_id from staged_connections t
union all
select t.model, t.pk, t.usage_id from staged_host_elements t
union all
select t.model, t.pk, t.usage_id from staged_host_connections t;

-- Adds what breaks the layout's rules to the offences.
create function pg_temp.find_offences(this_round integer) returns void language plpgsql as $$
declare
  search text;
begin
  for search in select r.search from rules r loop
    execute search using this_round;
  end loop;

  insert into offences (model, pk, columns, value, rule, round)
  select c.model, c.pk, array['elements'], string_agg(e.id::text, ', ' order by e.id), 'connections_two_ends', this_round
  from staged_connections c
  left join staged_elements e on e.connection_id = c.id
  group by c.model, c.pk
  having count(e.id) <> 2;

  -- The usage identity of what is dropped goes with it.
  insert into offences (model, pk, columns, value, rule, round)
  select u.model, u.pk, array['pk'], u.pk, format('its %s is dropped', i.model), this_round + 1
  from identities i
  inner join offences o on o.model = i.model and o.pk = i.pk and o.costs = 'record' and o.round = this_round
  inner join staged_usage_statistics u on u.id = i.usage_id
  where not exists (select from offences w where w.model = u.model and w.pk = u.pk);
end;
$$;

-- Takes away what the offences of a round cost: the record, or only its reference to what is not there.
create function pg_temp.drop_offenders(this_round integer) returns void language plpgsql as $$
declare
  staged name;
  reference text;
begin
  for staged in
    select c.relname from pg_class c where c.relnamespace = pg_my_temp_schema() and c.relname like 'staged\_%'
  loop
    execute format(
      $sql$
        delete from %I s using offences o
        where o.model = s.model and o.pk = s.pk and o.costs = 'record' and o.round = $1
      $sql$,
      staged
    ) using this_round;
  end loop;
  for staged, reference in
    select distinct 'staged_' || t.relname, o.columns[1]
    from offences o
    inner join pg_constraint k on k.conname = o.rule and k.contype = 'f'
    inner join pg_class t on t.oid = k.conrelid
    where o.costs = 'reference' and o.round = this_round
  loop
    execute format(
      $sql$
        update %1$I s set %2$I = null
        from offences o
        where o.model = s.model and o.pk = s.pk and o.costs = 'reference' and o.round = $1 and o.columns[1] = %2$L
      $sql$,
      staged, reference
    ) using this_round;
  end loop;
end;
$$;

-- Records that became a part of another one.
create temp view parts (model, pk, whole_model, whole_pk) as
select u.model, u.pk, r.model, r.pk
from old_usage_records r
inner join old_usages u on u.id = r.usage
union all
select u.model, u.pk, q.model, q.pk
from old_quotas q
cross join lateral (values (q.monthly), (q.used)) f (usage)
inner join old_usages u on u.id = f.usage
union all
select p.model, p.pk, t.model, t.pk
from staged_topologies t
inner join old_permissions p on p.id = t.permissions
union all
select r.model, r.pk, o.model, o.pk
from old_resources r
inner join (
  select t.id, t.model, t.pk from old_templates t
  union all
  select p.id, p.model, p.pk from old_profiles p
  union all
  select n.id, n.model, n.pk from old_networks n
  union all
  select i.id, i.model, i.pk from old_network_instances i
) o on o.id = r.id
union all
select p.model, p.pk, e.model, e.pk
from old_element_parts p
inner join staged_elements e on e.id = p.id and p.model = 'tomato.' || e.type;

-- What the offences say, the file's own and in the file's order; a constraint's name is told by what it checks.
create temp view listed (model, pk, columns, value, rule, meaning, round, costs) as
select
  o.model, o.pk, o.columns, o.value, o.rule,
  case k.contype
    when 'f' then format('it is not among the %s that can be loaded', replace(r.relname, '_', ' '))
    when 'c' then pg_get_constraintdef(k.oid)
    when 'p' then 'another record says that already'
    when 'u' then 'another record has the same'
  end,
  o.round, o.costs
from offences o
left join pg_constraint k on k.conname = o.rule and k.connamespace <> pg_my_temp_schema()
left join pg_class r on r.oid = k.confrelid
order by o.model, length(o.pk), o.pk, o.columns;

create function pg_temp.key_of(pk text) returns json language sql as $$
  select case when pk ~ '^-?[0-9]+$' then pk::json else to_json(pk) end;
$$;
