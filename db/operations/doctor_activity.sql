-- Queries of bin/doctor --watch, which run several times a second.

-- name: at_work()
-- List the sessions of this database in a call or a transaction, with the named query and the wait event.
select
  a.pid::int8 as pid,
  coalesce(substring(a.query from '/\* ([a-z_]+\.[a-z0-9_]+) \*/'), '(no named query)') as query,
  a.state = 'active' as active,
  case when a.state = 'active' and a.wait_event is not null then a.wait_event_type || ':' || a.wait_event end as wait,
  extract(epoch from clock_timestamp() - case when a.state = 'active' then a.query_start else a.state_change end)::float8 as seconds
from pg_stat_activity a
where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
  and (a.state = 'active' or a.state like 'idle in transaction%');

-- name: counters()<!
-- Return the server's counters for this database, and the WAL position of the whole server.
select
  extract(epoch from clock_timestamp())::float8 as now,
  current_setting('server_version') as version,
  extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 as up_seconds,
  d.xact_commit + d.xact_rollback as transactions,
  d.blks_hit as hit,
  d.blks_read as read,
  d.tup_inserted + d.tup_updated + d.tup_deleted as rows_written,
  case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8 end as wal,
  current_setting('max_connections')::int8 as allowed
from pg_stat_database d
where d.datname = current_database();
