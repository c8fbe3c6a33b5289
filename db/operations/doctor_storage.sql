-- Queries of bin/doctor on tables, indexes and constraints: validity, bloat, sequences and transaction ids.

-- name: constraints_not_valid()
-- List the constraints that are “not valid” or not enforced, so that rows may violate them.
select
  quote_ident(k.conname) as name,
  quote_ident(c.relname) as on_table,
  coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) as enforced
from pg_constraint k
inner join pg_class c on c.oid = k.conrelid
where not k.convalidated and k.connamespace = 'public'::regnamespace
order by 2, 1;

-- name: disabled_triggers()
-- List the triggers that do not fire for workers, including those of foreign keys.
select
  quote_ident(c.relname) as on_table,
  array_agg(quote_ident(t.tgname) order by t.tgname) filter (where not t.tgisinternal) as names,
  count(*) filter (where t.tgisinternal) as of_keys
from pg_trigger t
inner join pg_class c on c.oid = t.tgrelid
where t.tgenabled in ('D', 'R') and c.relnamespace = 'public'::regnamespace
group by c.relname
order by 1;

-- name: sequences(most)
-- List the sequences that have used the largest part of their range, or of their column's range.
select s.name, s.on_column, s.last, s.most, (s.last - s.begin)::float8 / nullif(s.most - s.begin, 0)::float8 as used, s.sequences
from (
  select
    quote_ident(c.relname) as name,
    (
      select quote_ident(t.relname) || '.' || quote_ident(a.attname)
      from pg_class t
      where t.oid = d.refobjid
    ) as on_column,
    case when has_sequence_privilege(c.oid, 'select,usage') then pg_sequence_last_value(c.oid::regclass) end as last,
    case
      when q.seqincrement < 0 then q.seqmin
      when a.atttypid = 'int2'::regtype then least(q.seqmax, 32767)
      when a.atttypid = 'int4'::regtype then least(q.seqmax, 2147483647)
      else q.seqmax
    end as most,
    case when q.seqincrement < 0 then q.seqmax else q.seqmin end as begin,
    count(*) over () as sequences
  from pg_sequence q
  inner join pg_class c on c.oid = q.seqrelid
  left join pg_depend d
    on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  where c.relnamespace = 'public'::regnamespace and not q.seqcycle
) s
order by used desc nulls last, s.name
limit :most;

-- name: duplicate_indexes()
-- List the indexes that are redundant, since another index of the table has the same columns or begins with them.
with indexes as (
  select
    c.oid, quote_ident(c.relname) as name, i.indrelid as table_oid, c.relam as method, i.indisunique as is_unique,
    i.indnkeyatts as keys, i.indkey::int2[] as columns, i.indclass::oid[] as classes, i.indcollation::oid[] as collations,
    i.indoption::int2[] as options, pg_get_expr(i.indpred, i.indrelid) as predicate,
    pg_get_expr(i.indexprs, i.indrelid) as expressions,
    c.oid in (select k.conindid from pg_constraint k where k.contype in ('p', 'u', 'x')) as is_rule
  from pg_index i
  inner join pg_class c on c.oid = i.indexrelid
  where c.relnamespace = 'public'::regnamespace and i.indisvalid and c.relkind = 'i'
)
select distinct on (t.relname, a.name)
  a.name, quote_ident(t.relname) as on_table, b.name as other, a.keys = b.keys as is_same, pg_relation_size(a.oid) as bytes
from indexes a
inner join indexes b on b.table_oid = a.table_oid and b.oid <> a.oid and b.method = a.method and b.keys >= a.keys
inner join pg_class t on t.oid = a.table_oid
where
  b.columns[0 : a.keys - 1] = a.columns[0 : a.keys - 1]
  and b.classes[0 : a.keys - 1] = a.classes[0 : a.keys - 1]
  and b.collations[0 : a.keys - 1] = a.collations[0 : a.keys - 1]
  and b.options[0 : a.keys - 1] = a.options[0 : a.keys - 1]
  and a.predicate is not distinct from b.predicate
  and a.expressions is not distinct from b.expressions
  and a.columns[a.keys : ] <@ b.columns
  and (a.keys = b.keys or (select m.amname from pg_am m where m.oid = a.method) = 'btree')
  and not a.is_rule and (not a.is_unique or b.is_unique and a.keys = b.keys)
  -- of two equal indexes, the newer one, unless only that one serves a constraint
  and (a.keys < b.keys or b.is_rule or b.is_unique and not a.is_unique or b.is_unique = a.is_unique and b.oid < a.oid)
order by t.relname, a.name, b.keys;

-- name: bloat(large)
-- List the tables larger than :large bytes, and the estimated size of their rows without bloat.
select t.name, t.bytes, t.needed::int8 as needed
from (
  select
    quote_ident(c.relname) as name,
    pg_relation_size(c.oid) as bytes,
    greatest(c.reltuples, 0)
      * (28 + (s.width + 7)::int8 / 8 * 8)  -- a header of 24 bytes, a pointer of 4, and columns up to a multiple of 8
      / (1 - 24 / current_setting('block_size')::float8)
      / coalesce((select o.option_value::float8 / 100 from pg_options_to_table(c.reloptions) o where o.option_name = 'fillfactor'), 1)
      as needed
  from pg_class c
  cross join lateral (
    select sum((1 - p.null_frac) * p.avg_width) as width, count(*) as columns
    from pg_stats p
    where p.schemaname = 'public' and p.tablename = c.relname and not p.inherited
  ) s
  where
    c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.reltuples >= 0
    and c.relpages > :large::int8 / current_setting('block_size')::int8
    and s.columns = (select count(*) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
) t
order by t.bytes - t.needed desc;

-- name: freezing()
-- Return the age of each database's oldest transaction and multixact id, and the ages at which autovacuum freezes rows.
select
  d.datname::text as name,
  age(d.datfrozenxid)::int8 as transactions,
  mxid_age(d.datminmxid)::int8 as multixacts,
  current_setting('autovacuum_freeze_max_age')::int8 as transactions_allowed,
  current_setting('autovacuum_multixact_freeze_max_age')::int8 as multixacts_allowed
from pg_database d
order by greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) desc, 1;
