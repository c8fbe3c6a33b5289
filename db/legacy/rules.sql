-- What else makes a record an offence: the layout's own rules, read from its catalogue.

-- What a record says differently from the one that it is merged into.
create function pg_temp.difference(merged jsonb, kept jsonb) returns jsonb language sql as $$
  select coalesce(jsonb_object_agg(m.key, m.value), '{}')
  from jsonb_each(merged) m
  where m.key not in ('id', 'pk') and m.value is distinct from kept -> m.key;
$$;

-- Adds what breaks the layout's rules to the offences, and tells how many that are.
create function pg_temp.find_offences(this_round integer) returns bigint language plpgsql as $$
declare
  rule record;
  added bigint;
  total bigint := 0;
begin
  for rule in
    -- %1$I is the staged table, %2$s the round
    select
      s.relname as staged,
      format(
        $sql$
          insert into offences (model, pk, columns, rule, round)
          select s.model, s.pk, array[%1$L], 'may not be null', %%2$s
          from %%1$I s
          where s.%1$I is null and not exists (select from offences o where o.model = s.model and o.pk = s.pk)
        $sql$,
        a.attname
      ) as search
    from pg_attribute a
    inner join pg_class t on t.oid = a.attrelid
    inner join pg_class s on s.relname = 'staged_' || t.relname and s.relnamespace = pg_my_temp_schema()
    where a.attnum > 0 and a.attnotnull and not a.attisdropped and t.relnamespace <> pg_my_temp_schema()
    union all
    select
      s.relname,
      case k.contype
        when 'c' then format(
          $sql$
            insert into offences (model, pk, columns, value, rule, round)
            select s.model, s.pk, %1$L, concat_ws(', ', %2$s), %3$L, %%2$s
            from %%1$I s
            where not (%4$s)
          $sql$,
          n.columns, n.list, k.conname, pg_get_expr(k.conbin, k.conrelid)
        )
        when 'f' then format(
          $sql$
            X || r.relname, n.referenced, n.list
        )
        else format(
          $sql$
            insert into offences (model, pk, columns, value, rule, round)
            select d.model, d.pk, %1$L, d.value, %3$L, %%2$s
            from (
              select
                s.model, s.pk, concat_ws(', ', %2$s) as value,
                row_number() over (partition by %2$s order by length(s.pk), s.pk) as n
              from %%1$I s
              where (%2$s) in (select %2$s from %%1$I s group by %2$s having count(*) > 1)
            ) d
            where d.n > 1
          $sql$,
          n.columns, n.list, k.conname
        )
      end
    from pg_constraint k
    inner join pg_class t on t.oid = k.conrelid
    inner join pg_class s on s.relname = 'staged_' || t.relname and s.relnamespace = pg_my_temp_schema()
    left join pg_class r on r.oid = k.confrelid
    cross join lateral (
      select
        array_agg(a.attname) as columns,
        string_agg(format('s.%I', a.attname), ', ' order by u.n) as list,
        string_agg(format('r.%I', ra.attname), ', ' order by u.n) as referenced,
        -- the column that names the one thing, where others only make sure that it fits
        min(a.attname) filter (where ra.attname in ('id', 'group_id')) as reference
      from unnest(k.conkey, k.confkey) with ordinality u (attnum, rattnum, n)
      inner join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
      left join pg_attribute ra on ra.attrelid = k.confrelid and ra.attnum = u.rattnum
    ) n
    where k.contype in ('c', 'f', 'p', 'u') and t.relnamespace <> pg_my_temp_schema()
  loop
    execute format(rule.search, rule.staged, this_round);
    get diagnostics added = row_count;
    total := total + added;
  end loop;

  insert into offences (model, pk, columns, value, rule, round)
  select c.model, c.pk, array['elements'], string_agg(e.id::text, ', ' order by e.id), 'connections_two_ends', this_round
  from staged_connections c
  left join staged_elements e on e.connection_id = c.id
  group by c.model, c.pk
  having count(e.id) <> 2;
  get diagnostics added = row_count;
  total := total + added;

  -- A record goes with the part of it that is refused.
  insert into offences (model, pk, columns, value, rule, round)
  select distinct p.whole_model, p.whole_pk, array['pk'], p.pk, format('its %s is refused', p.model), this_round
  from parts p
  inner join offences o on o.model = p.model and o.pk = p.pk and o.costs = 'record'
  where
    this_round > 1
    and not exists (select from offences w where w.model = p.whole_model and w.pk = p.whole_pk and w.costs = 'record');
  get diagnostics added = row_count;
  return total + added;
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
