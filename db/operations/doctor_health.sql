-- Queries of bin/doctor on standbys, replication slots, the WAL archive and the server's integrity.

-- name: slots()
-- List the replication slots, and the bytes of WAL that each retains.
select
  s.slot_name::text as name,
  s.slot_type as type,
  s.active,
  s.wal_status as status,
  greatest(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, s.restart_lsn), 0)::int8
    as kept,
  pg_size_bytes(current_setting('max_wal_size')) as usual
from pg_replication_slots s
order by 5 desc nulls last, 1;

-- name: standbys()
-- List the connected standbys and their lag, or null if the user may not read it.
select
  coalesce(nullif(r.application_name, ''), '(no name)') as application,
  r.state,
  r.sync_state,
  case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn) end::int8 as bytes_behind,
  extract(epoch from r.replay_lag)::float8 as seconds_behind,
  pg_size_bytes(current_setting('max_wal_size')) as usual
from pg_stat_replication r
where r.state is distinct from 'backup'
order by 4 desc nulls last, 1;

-- name: standby()
-- Return this standby's state of WAL receipt and replay, and the age of the last replayed transaction; no row on a primary.
select
  exists (select from pg_stat_wal_receiver w where w.pid is not null) as receives,
  pg_get_wal_replay_pause_state() as pause,
  case
    when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
    else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
  end::float8 as seconds_behind
where pg_is_in_recovery();

-- name: archiver()<!
-- Return the state of WAL archiving, and whether the last attempt failed.
select
  current_setting('archive_mode') as mode,
  coalesce(nullif(current_setting('archive_command'), '(disabled)'), '') <> ''
    or coalesce(current_setting('archive_library', true), '') <> '' as has_command,
  a.failed_count as failures,
  a.last_failed_wal::text as failed_file,
  a.last_failed_time > coalesce(a.last_archived_time, '-infinity') as fails,
  extract(epoch from clock_timestamp() - a.last_archived_time)::float8 as archived_seconds
from pg_stat_archiver a;

-- name: prepared_transactions()
-- List the open prepared transactions (two-phase commit) of this database.
select
  p.gid as name,
  p.owner::text as owner,
  extract(epoch from clock_timestamp() - p.prepared)::float8 as seconds
from pg_prepared_xacts p
where p.database = current_database()
order by p.prepared;

-- name: damaged()
-- List the databases with checksum failures ('' stands for shared objects).
select coalesce(d.datname::text, '') as name, d.checksum_failures as pages
from pg_stat_database d
where d.checksum_failures > 0
order by 1;

-- name: collations()
-- List the collations in use whose version has changed since indexes were built. The database's default has no name.
select null as name, d.datcollversion as version, pg_database_collation_actual_version(d.oid) as here
from pg_database d
where d.datname = current_database() and d.datcollversion <> pg_database_collation_actual_version(d.oid)
union all
select c.oid::regcollation::text, c.collversion, pg_collation_actual_version(c.oid)
from pg_collation c
where c.collversion <> pg_collation_actual_version(c.oid) and exists (
  select from pg_attribute a
  inner join pg_class r on r.oid = a.attrelid
  where a.attcollation = c.oid and r.relnamespace = 'public'::regnamespace
)
order by 1 nulls first;

-- name: cache()<!
-- Return the blocks of this database that were found in shared_buffers, and those that were read.
select d.blks_hit as hit, d.blks_read as read, current_setting('shared_buffers') as shared_buffers
from pg_stat_database d
where d.datname = current_database();

-- name: notifications()<!
-- Return the used fraction of the notification queue, and the session that may prevent its cleanup.
select
  pg_notification_queue_usage() as used,
  (
    select a.pid::int8
    from pg_stat_activity a
    where a.xact_start is not null and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
    order by a.xact_start
    limit 1
  ) as oldest;

-- name: places()<!
-- List the server's data directories, or null if the user may not read them.
select
  (select s.setting from pg_settings s where s.name = 'data_directory') as data,
  array(
    select pg_tablespace_location(t.oid)
    from pg_tablespace t
    where pg_tablespace_location(t.oid) <> ''
    order by 1
  ) as tablespaces;
