-- The fate of every record: loaded (it is in a staged table), merged into another one, or dropped for a reason.

create temp table fates (model text, pk text, fate text, reason text, columns text []);

-- Usage identities without an object are dropped together with their records: removed objects left theirs behind.
create temp table nobodys as
select u.id from staged_usage_statistics u
where not exists (select from identities i where i.usage_id = u.id);

with gone as (
  delete from staged_usage_records r using nobodys n where n.id = r.usage_id returning r.model, r.pk
)

insert into fates (model, pk, fate, reason)
select g.model, g.pk, 'dropped', 'it refers to an object that does not exist' from gone g;

with gone as (
  delete from staged_usage_statistics u using nobodys n where n.id = u.id returning u.model, u.pk
)

insert into fates (model, pk, fate, reason)
select g.model, g.pk, 'dropped', 'nothing refers to it' from gone g;

do $$
begin
  execute (
    select 'create temp view loaded as '
    || string_agg(format('select s.model, s.pk from %I s where s.pk is not null', c.relname), ' union all ')
    from pg_class c
    where c.relnamespace = pg_my_temp_schema() and c.relname like 'staged\_%'
  );
end;
$$;

insert into fates (model, pk, fate)
select distinct p.model, p.pk, 'merged'
from parts p
inner join (
  select l.model, l.pk from loaded l
  union all
  select m.model, m.pk from merges m
) w on w.model = p.whole_model and w.pk = p.whole_pk;

insert into fates (model, pk, fate)
select m.model, m.pk, 'merged'
from merges m
inner join loaded l on l.model = m.model and l.pk = m.into_pk;

insert into fates (model, pk, fate, reason, columns)
select distinct on (o.model, o.pk, o.costs) o.model, o.pk, 'dropped', o.rule, o.columns
from offences o
where o.costs in ('record', 'second')
order by o.model, o.pk, o.costs, o.round;

insert into fates (model, pk, fate, reason)
select r.model, r.pk, 'dropped', r.reason
from (
  select u.model, u.pk, 'no loaded record or quota refers to it' as reason from old_usages u
  union all
  select q.model, q.pk, 'nothing refers to it' from old_quotas q
  union all
  select p.model, p.pk, 'no loaded topology has these permissions' from old_permissions p
  union all
  select
    e.model, e.pk,
    case when e.role is null or e.role = 'null' then 'it has no role' else 'no loaded topology has these permissions' end
  from old_permission_entries e
  union all
  select
    o.model, o.pk,
    case
      when o.type is null then 'the object that it describes is not loaded'
      else format('resources of type %s have no table', o.type)
    end
  from old_resources o
  union all
  select p.model, p.pk, 'its element is not loaded' from old_element_parts p
  union all
  select m.model, m.pk, 'the record that it is merged into is not loaded' from merges m
  union all
  select m.model, m.pk, 'it only holds the schema version' from old_migrations m
) r
where
  not exists (select from fates f where f.model = r.model and f.pk = r.pk)
  and not exists (select from loaded l where l.model = r.model and l.pk = r.pk);

create temp view counts (model, fate, records) as
select r.model, r.fate, count(*)
from (
  select distinct l.model, l.pk, 'loaded' as fate from loaded l
  union all
  select f.model, f.pk, f.fate from fates f
) r
group by r.model, r.fate;

create temp view drops (model, columns, reason, meaning, records, pks) as
select
  f.model, f.columns, f.reason, m.meaning, count(*), json_agg(pg_temp.key_of(f.pk) order by length(f.pk), f.pk)::text
from fates f
left join (select distinct l.rule, l.meaning from listed l) m on m.rule = f.reason
where f.fate = 'dropped'
group by f.model, f.columns, f.reason, m.meaning;

-- Values that are loaded differently from the file.
create temp view mended (model, pk, columns, value, became, reason, meaning) as
select m.model, m.pk, m.columns, m.value, m.became, m.reason, m.meaning
from (
  select
    l.model, l.pk, l.columns, l.value, l.became,
    -- a reference to a dropped record does not violate a rule by itself
    case when l.round > 1 and l.rule like '%\_fkey' then l.meaning else l.rule end as reason, l.meaning
  from listed l
  where l.costs = 'value'
  union all
  select r.model, r.pk, r.columns, r.value, r.became, r.reason, null
  from readings r
) m
where not exists (select from fates f where f.model = m.model and f.pk = m.pk and f.fate = 'dropped')
order by m.model, length(m.pk), m.pk, m.columns;
