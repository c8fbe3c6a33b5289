-- Queries of bin/doctor on the server's own views and catalogs.

-- name: server()<!
-- Return the server's version and the settings that matter for this load.
select
  current_setting('server_version') as version,
  extract(epoch from now() - pg_postmaster_start_time())::float8 as up_seconds,
  current_setting('shared_buffers') as shared_buffers,
  current_setting('work_mem') as work_mem,
  current_setting('maintenance_work_mem') as maintenance_work_mem,
  current_setting('max_wal_size') as max_wal_size,
  current_setting('fsync') as fsync,
  current_setting('full_page_writes') as full_page_writes,
  current_setting('autovacuum') as autovacuum,
  current_setting('track_counts') as track_counts,
  current_setting('zero_damaged_pages') as zero_damaged_pages,
  current_setting('ignore_checksum_failure') as ignore_checksum_failure,
  current_setting('server_version_num')::int4 as version_number,
  current_setting('shared_memory_type') as shared_memory_type,
  pg_size_bytes(current_setting('shared_memory_size')) as shared_memory_bytes,
  pg_is_in_recovery() as standby,
  d.setting as default_transaction_read_only,
  d.source as read_only_by
from pg_settings d
where d.name = 'default_transaction_read_only';

-- name: sessions()
-- Count the sessions of all databases, by application and state.
select
  coalesce(nullif(a.application_name, ''), '(no name)') as application,
  coalesce(a.state, '(hidden)') as state,
  count(*)::int8 as sessions
from pg_stat_activity a
where a.datid is not null and a.leader_pid is null and a.backend_type is distinct from 'autovacuum worker'
  and a.pid <> pg_backend_pid()
group by 1, 2
order by 3 desc, 1, 2;

-- name: roles(names)
-- Return the roles that exist, objects of this database with other owners, and the right to create large objects.
select
  r.rolname::text as name,
  r.rolsuper as superuser,
  (
    select count(*)::int8
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relowner <> r.oid
  ) as not_owned,
  (
    select count(*)::int8
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proowner <> r.oid
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  ) as functions_not_owned,
  (select d.datdba = r.oid from pg_database d where d.datname = current_database()) as owns_database,
  (select n.nspowner = r.oid from pg_namespace n where n.nspname = 'public') as owns_schema,
  exists (
    select from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea')
      and has_function_privilege(r.oid, p.oid, 'execute')
  ) as may_create_large_objects
from pg_roles r
where r.rolname = any(:names);

-- name: privileges(app, reader)
-- List the privileges that either role lacks or has in excess. Objects dropped meanwhile are omitted.
with roles as (
  select r.oid, r.rolname::text as name, r.rolname = :app as writes
  from pg_roles r
  where r.rolname in (:app, :reader) and not r.rolsuper
),
of_tables as (
  select
    r.name as role, 'table' as kind, quote_ident(c.relname) as object, p.privilege,
    p.privilege = 'select'
      or r.writes and p.privilege in ('insert', 'update', 'delete')
      and c.relname not in ('schema_migrations', 'migration_lock') as wanted,
    has_table_privilege(r.oid, c.oid, p.privilege) as had,
    case when p.privilege in ('select', 'insert', 'update', 'references')
      then has_any_column_privilege(r.oid, c.oid, p.privilege)
    end as had_of_columns
  from roles r
  cross join pg_class c
  cross join unnest(
    array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']
    || case when current_setting('server_version_num')::int4 >= 170000 then '{maintain}' else '{}'::text[] end
  ) p (privilege)
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
),
of_sequences as (
  select
    r.name, 'sequence', quote_ident(c.relname), p.privilege,
    p.privilege = case when r.writes then 'usage' else 'select' end,
    has_sequence_privilege(r.oid, c.oid, p.privilege), null::bool
  from roles r
  cross join pg_class c
  cross join unnest(array['usage', 'select', 'update']) p (privilege)
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'S'
),
of_the_database as (
  select
    r.name, 'database', 'the database', p.privilege, p.privilege = 'connect',
    has_database_privilege(r.oid, d.oid, p.privilege), null::bool
  from roles r
  cross join pg_database d
  cross join unnest(array['connect', 'create', 'temporary']) p (privilege)
  where d.datname = current_database()
),
of_the_schema as (
  select
    r.name, 'schema', 'the schema public', p.privilege, p.privilege = 'usage',
    has_schema_privilege(r.oid, 'public', p.privilege), null::bool
  from roles r
  cross join unnest(array['usage', 'create']) p (privilege)
),
by_default as (
  select d.defaclobjtype as kind, x.grantee, lower(x.privilege_type) as privilege
  from pg_default_acl d
  cross join aclexplode(d.defaclacl) x
  where d.defaclrole = to_regrole('tomato_owner') and d.defaclnamespace = 'public'::regnamespace
),
of_new_objects as (
  select
    r.name, 'default', 'new ' || k.name, p.privilege,
    case
      when k.kind = 'S' then p.privilege = case when r.writes then 'usage' else 'select' end
      else p.privilege = 'select' or r.writes and p.privilege in ('insert', 'update', 'delete')
    end,
    exists (select from by_default d where d.kind = k.kind and d.grantee in (r.oid, 0) and d.privilege = p.privilege),
    null::bool
  from roles r
  cross join (values ('r', 'tables'), ('S', 'sequences')) k (kind, name)
  cross join unnest(
    array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger', 'maintain', 'usage']
  ) p (privilege)
  where k.kind = 'S' or p.privilege <> 'usage'
)
select d.role, d.kind, d.object, d.privilege, d.wanted as lacking
from (
  table of_tables
  union all
  table of_sequences
  union all
  table of_the_database
  union all
  table of_the_schema
  union all
  table of_new_objects
) d
where d.wanted and not d.had or not d.wanted and (d.had or d.had_of_columns)
order by d.role, d.kind, d.object, d.privilege;

-- name: transactions()
-- List the open transactions in this database, oldest first.
select
  a.pid::int8 as pid,
  coalesce(nullif(a.application_name, ''), '(no name)') as application,
  coalesce(a.state, '(hidden)') as state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds,
  extract(epoch from clock_timestamp() - a.state_change)::float8 as state_seconds,
  coalesce(substring(a.query from '/\* ([a-z_]+\.[a-z0-9_]+) \*/'), '(no named query)') as query
from pg_stat_activity a
where a.datname = current_database() and a.xact_start is not null and a.pid <> pg_backend_pid()
  and a.backend_type is distinct from 'autovacuum worker'
order by a.xact_start;

-- name: locks_waited_for()
-- List the sessions that wait for a lock in this database, and the sessions that block them.
select
  a.pid::int8 as pid,
  coalesce(nullif(a.application_name, ''), '(no name)') as application,
  coalesce(substring(a.query from '/\* ([a-z_]+\.[a-z0-9_]+) \*/'), '(no named query)') as query,
  extract(epoch from clock_timestamp() - a.state_change)::float8 as seconds,
  pg_blocking_pids(a.pid)::int8[] as blocked_by,
  array(
    select
      coalesce(nullif(b.application_name, ''), '(no name)') || ' (pid ' || b.pid || ') in '
        || coalesce(substring(b.query from '/\* ([a-z_]+\.[a-z0-9_]+) \*/'), '(no named query)')
        || case when b.state like 'idle in transaction%' then ', idle in its transaction' else '' end
    from pg_stat_activity b
    where b.pid = any(pg_blocking_pids(a.pid))
    order by b.pid
  ) as blockers
from pg_stat_activity a
where a.datname = current_database() and a.wait_event_type = 'Lock'
order by a.state_change;

-- name: tables()
-- List each table's size with its indexes (and partitions), and its estimated rows. Sizes beyond the hundred largest are
-- estimates, too, since reading the size of thousands of files takes seconds.
with sizes as (
  select
    c.oid, c.reloptions,
    case when c.relispartition then pg_partition_root(c.oid) else c.oid end as root,
    pg_relation_size(c.oid) + current_setting('block_size')::int8 * (
      coalesce((select o.relpages from pg_class o where o.oid = c.reltoastrelid), 0)
      + coalesce((select sum(o.relpages) from pg_index i inner join pg_class o on o.oid = i.indexrelid where i.indrelid = c.oid), 0)
    )::int8 as bytes
  from pg_class c
  where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
),
ranked as (
  select s.*, row_number() over (order by s.bytes desc, s.oid) as place
  from sizes s
)
select
  quote_ident(c.relname) as name,
  sum(case when r.place <= 100 then pg_total_relation_size(r.oid) else r.bytes end)::int8 as bytes,
  sum(pg_stat_get_live_tuples(r.oid))::int8 as live,
  sum(pg_stat_get_dead_tuples(r.oid))::int8 as dead,
  max(pg_stat_get_last_autovacuum_time(r.oid)) as vacuumed_at,
  sum(pg_stat_get_mod_since_analyze(r.oid))::int8 as changed,
  extract(
    epoch from clock_timestamp()
    - min(greatest(pg_stat_get_last_analyze_time(r.oid), pg_stat_get_last_autoanalyze_time(r.oid)))
  )::float8 as analyzed_seconds,
  bool_and(
    coalesce(
      (select o.option_value::bool from pg_options_to_table(r.reloptions) o where o.option_name = 'autovacuum_enabled'), true
    )
  ) as autovacuum
from ranked r
inner join pg_class c on c.oid = r.root
group by c.oid, c.relname
order by 2 desc, 1;

-- name: read_whole(times, size)
-- List the tables with more than :times sequential scans that read more than :size rows on average.
select quote_ident(c.relname) as name, s.times as whole_reads, s.read as rows_of_whole_reads
from pg_class c
cross join lateral (select pg_stat_get_numscans(c.oid) as times, pg_stat_get_tuples_returned(c.oid) as read) s
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and s.times > :times and s.read > :size * s.times
order by 3 desc, 1;

-- name: unused_indexes()
-- List the indexes that no query has used since the last reset of statistics and that enforce no uniqueness and serve no
-- foreign key. Sizes of small ones are estimates.
select
  quote_ident(c.relname) as name,
  quote_ident(t.relname) as on_table,
  case when c.relpages > 500 then pg_relation_size(c.oid) else c.relpages * current_setting('block_size')::int8 end as bytes
from pg_index x
inner join pg_class c on c.oid = x.indexrelid
inner join pg_class t on t.oid = x.indrelid
where c.relnamespace = 'public'::regnamespace and c.relkind = 'i' and not x.indisunique and pg_stat_get_numscans(c.oid) = 0
  and not exists (
    select from pg_constraint f
    where f.contype = 'f' and f.conrelid = x.indrelid and x.indkey[0] = any(f.conkey)
  )
order by 3 desc, 1;

-- name: unindexed_foreign_keys()
-- List the foreign keys without an index that begins with their columns: deleting a referenced row scans the whole table.
select quote_ident(f.conname) as name, quote_ident(c.relname) as on_table
from pg_constraint f
inner join pg_class c on c.oid = f.conrelid
where f.contype = 'f' and f.conparentid = 0 and f.connamespace = 'public'::regnamespace and not exists (
  select from pg_index x
  where x.indrelid = f.conrelid and x.indpred is null
    and array(select unnest(f.conkey) order by 1)
      = array(select unnest((x.indkey::int2[])[0 : cardinality(f.conkey) - 1]) order by 1)
)
order by 1;

-- name: invalid_indexes()
-- List the invalid indexes: “create index concurrently” has failed, or is still running.
select quote_ident(c.relname) as name, quote_ident(t.relname) as on_table
from pg_index i
inner join pg_class c on c.oid = i.indexrelid
inner join pg_class t on t.oid = i.indrelid
where not i.indisvalid and c.relnamespace = 'public'::regnamespace
order by 1;

-- name: statistics()<!
-- Return the last reset of statistics, and the schema of pg_stat_statements or whether it can be installed.
select
  extract(epoch from now() - coalesce(d.stats_reset, pg_postmaster_start_time()))::float8 as seconds,
  (
    select quote_ident(n.nspname)
    from pg_extension x
    inner join pg_namespace n on n.oid = x.extnamespace
    where x.extname = 'pg_stat_statements'
  ) as statements_schema,
  exists (select from pg_available_extensions e where e.name = 'pg_stat_statements') as may_have_statements,
  coalesce(current_setting('shared_preload_libraries', true), '') ~ '\mpg_stat_statements\M'
    and (select r.rolsuper from pg_roles r where r.rolname = current_user) and not pg_is_in_recovery() as can_be_lent
from pg_stat_database d
where d.datname = current_database();

-- name: slowest(most)
-- List the named queries with the highest total execution time.
select
  substring(s.query from '/\* ([a-z_]+\.[a-z0-9_]+) \*/') as name,
  sum(s.calls)::int8 as calls,
  sum(s.total_exec_time) / 1000::float8 as seconds,
  sum(s.total_exec_time) / sum(s.calls)::float8 as mean_ms
from pg_stat_statements s
where s.dbid = (select d.oid from pg_database d where d.datname = current_database())
  and s.query ~ '/\* [a-z_]+\.[a-z0-9_]+ \*/' and s.query !~ '/\* doctor[a-z_]*\.'
group by 1
order by 3 desc
limit :most;

-- name: accounting()<!
-- Return the latest rolled-up window, the new records that wait for the rollup, and the unfinished run, if any.
select
  (select p.settled_at at time zone 'UTC' from public.usage_progress p) as settled_at,
  (select count(*) from public.usage_arrivals a) as waiting,
  (select extract(epoch from now() - min(a.end_at))::float8 from public.usage_arrivals a) as waiting_seconds,
  r.moment at time zone 'UTC' as moment,
  r.step,
  case when r.step < 0 then (
    select count(*) filter (where u.id <= r.after_id)::float8 / nullif(count(*), 0) from public.usage_statistics u
  ) end as share
from (values (1)) one (id)
left join public.usage_run r on r.id = one.id;

-- name: kept_databases()
-- List the databases that restores of this one have kept, oldest first, with their size if the user may read it.
select
  d.datname::text as name,
  extract(epoch from now() at time zone 'UTC' - to_timestamp(right(d.datname, 15), 'YYYYMMDD"T"HH24MISS')::timestamp)::float8 as seconds,
  case
    when has_database_privilege(d.oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') then pg_database_size(d.oid)
  end as bytes
from pg_database d
where starts_with(d.datname::text, current_database() || '_before_')
  and substr(d.datname::text, length(current_database()) + 9) ~ '^\d{8}T\d{6}$'
order by 1;
