-- Violations of the schema's own rules, which are read from the catalog.

-- Return the fields in which a record differs from the one that it is merged into.
create function pg_temp.difference(merged jsonb, kept jsonb) returns jsonb language sql as $$
  select coalesce(jsonb_object_agg(m.key, m.value), '{}')
  from jsonb_each(merged) m
  where m.key not in ('id', 'pk') and m.value is distinct from kept -> m.key;
$$;

-- The staged tables, and the schema's tables for their rows.
create temp view targets (target, staged) as
select t.oid, s.relname
from pg_class s
inner join pg_class t on 'staged_' || t.relname = s.relname and t.relnamespace <> pg_my_temp_schema()
where s.relnamespace = pg_my_temp_schema();

-- The schema's columns whose values can be dropped: they are nullable or have a default.
create temp view mendable (target, attnum, name, instead) as
select a.attrelid, a.attnum, a.attname, case when a.attnotnull then pg_get_expr(d.adbin, d.adrelid) else 'null' end
from targets t
inner join pg_attribute a on a.attrelid = t.target and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where d.adbin is not null or not a.attnotnull;

-- The schema's constraints, each with a query for the records that violate it. A value that already is its default, or null,
-- cannot be replaced by it.
create temp view rules (search) as
select
  format(
    $sql$
      insert into offences (model, pk, columns, rule, round, costs, became, reset)
      select s.model, s.pk, array[%1$L], 'may not be null', $1, %3$L, coalesce((%4$s)::text, 'null'), %5$L
      from %2$I s
      where s.%1$I is null and ($1 > 1 or not exists (select from offences o where o.model = s.model and o.pk = s.pk))
    $sql$,
    a.attname, t.staged, case when m.name is null then 'record' else 'value' end, coalesce(m.instead, 'null'), m.name
  )
from targets t
inner join pg_attribute a on a.attrelid = t.target and a.attnum > 0 and a.attnotnull and not a.attisdropped
left join mendable m on m.target = a.attrelid and m.attnum = a.attnum
union all
select
  case k.contype
    when 'c' then format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round, costs, became, reset)
        select s.model, s.pk, %1$L, concat_ws(', ', %2$s), %3$L, $1, b.costs, coalesce((%6$s)::text, 'null'), b.reset
        from %4$I s
        cross join lateral (
          select
            case when %7$s is distinct from %6$s then 'value' else 'record' end as costs,
            case when %7$s is distinct from %6$s then %8$L end as reset
        ) b
        where not (%5$s)
      $sql$,
      n.columns, n.list, k.conname, t.staged, pg_get_expr(k.conbin, k.conrelid), coalesce(m.instead, 'null'),
      coalesce('s.' || quote_ident(m.name), 'null'), m.name
    )
    when 'f' then format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round, costs, became, reset)
        select s.model, s.pk, array[%1$L], s.%1$I::text, %2$L, $1, b.costs, 'null', case b.costs when 'value' then %1$L end
        from %4$I s
        cross join lateral (select case when %3$s then 'value' else 'record' end as costs) b
        where (%5$s) is not null and not exists (select from %6$I r where (%7$s) = (%5$s))
      $sql$,
      n.reference, k.conname,
      -- only a dropped record, not one that never existed, takes others along
      case when n.is_nullable then case k.confdeltype when 'c' then '$1 = 1' else 'true' end else 'false' end,
      t.staged, n.list, r.staged, n.referenced
    )
    else format(
      $sql$
        insert into offences (model, pk, columns, value, rule, round, costs, became, reset)
        select d.model, d.pk, %1$L, d.value, %2$L, $1, %5$L, 'null', %6$L
        from (
          select
            s.model, s.pk, concat_ws(', ', %3$s) as value,
            row_number() over (partition by %3$s order by length(s.pk), s.pk) as n
          from %4$I s
          where (%3$s) in (select %3$s from %4$I s group by %3$s having count(*) > 1)
        ) d
        where d.n > 1
      $sql$,
      n.columns, k.conname, n.list, t.staged, case when n.is_nullable then 'value' else 'record' end,
      case when n.is_nullable then n.columns[1] end
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
    -- the column with the reference itself; the others only ensure consistency
    min(a.attname) filter (where f.attname in ('id', 'group_id')) as reference,
    case k.contype
      when 'f' then bool_and(not a.attnotnull) filter (where f.attname in ('id', 'group_id'))
      else bool_and(not a.attnotnull) and count(*) = 1
    end as is_nullable
  from unnest(k.conkey, k.confkey) with ordinality u (attnum, referenced_attnum, n)
  inner join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
  left join pg_attribute f on f.attrelid = k.confrelid and f.attnum = u.referenced_attnum
) n
left join lateral (
  select c.name, c.instead from mendable c
  where c.target = k.conrelid and c.attnum = any(k.conkey)
  order by c.attnum desc
  limit 1
) m on true;

-- The usage identity of each record.
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

-- Add the violations of the schema's rules to the offences.
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
end;
$$;

-- Drop the costs of a round's offences: records, or only values.
create function pg_temp.drop_offenders(this_round integer) returns void language plpgsql as $$
declare
  staged name;
  mended name;
  instead text;
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
  for staged, mended, instead in
    select t.staged, m.name, m.instead
    from targets t
    inner join mendable m on m.target = t.target
    where m.name in (select o.reset from offences o where o.round = this_round and o.costs = 'value')
  loop
    execute format(
      $sql$
        update %1$I s set %2$I = %3$s
        from offences o
        where o.model = s.model and o.pk = s.pk and o.costs = 'value' and o.round = $1 and o.reset = %2$L
      $sql$,
      staged, mended, instead
    ) using this_round;
  end loop;
end;
$$;

-- Postpone earlier timeouts to a period from now, as if these topologies were renewed. A stopped one is destroyed
-- correspondingly later; a destroyed one stays destroyed.
create function pg_temp.extend_timeouts(period interval) returns void language sql as $$
  with extended as (
    update staged_topologies t set
      timeout_at = now() + period,
      timeout_step = case when t.timeout_step = 10 then 10 when period <= interval '24 hours' then 9 else 0 end
    from staged_topologies o
    where o.ctid = t.ctid and t.timeout_step < 20 and t.timeout_at < now() + period
    returning t.model, t.pk, o.timeout_at as before, t.timeout_at as after
  )

  insert into readings (model, pk, columns, value, became, reason)
  select e.model, e.pk, array['timeout_at'], e.before::text, e.after::text, 'extended' from extended e;
$$;

-- Records that have become a part of another record.
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

-- The texts of the offences, in the file's order. Constraints are described by their condition.
create temp view listed (model, pk, columns, value, rule, meaning, round, costs, became) as
select
  o.model, o.pk, o.columns, o.value, o.rule,
  case k.contype
    when 'f' then format('it is not one of the %s that can be loaded', replace(r.relname, '_', ' '))
    when 'c' then pg_get_constraintdef(k.oid)
    when 'p' then 'another record has the same key'
    when 'u' then 'another record has the same'
  end,
  o.round, o.costs, o.became
from offences o
left join pg_constraint k on k.conname = o.rule and k.connamespace <> pg_my_temp_schema()
left join pg_class r on r.oid = k.confrelid
order by o.model, length(o.pk), o.pk, o.columns;

create function pg_temp.key_of(pk text) returns json language sql as $$
  select case when pk ~ '^-?[0-9]+$' then pk::json else to_json(pk) end;
$$;
