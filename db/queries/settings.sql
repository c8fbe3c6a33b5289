-- name: get()^
-- record_class: Settings
-- one row: a check of the table allows only one
-- not null: topology_timeout_options[]
-- Return the settings.
select
  s.host_update_interval, s.resource_sync_interval, s.availability_half_life, s.topology_timeout_initial,
  s.topology_timeout_default, s.topology_timeout_maximum, s.topology_timeout_warning, s.topology_timeout_options,
  s.quota_memory, s.quota_diskspace, s.quota_traffic, s.quota_cputime, s.quota_continuous_factor, s.error_dump_interval
from settings s;

-- name: update(patch)^
-- record_class: Settings
-- one row: a check of the table allows only one
-- not null: topology_timeout_options[]
-- Change the columns in the patch.
update settings s set (
  host_update_interval, resource_sync_interval, availability_half_life, topology_timeout_initial,
  topology_timeout_default, topology_timeout_maximum, topology_timeout_warning, topology_timeout_options, quota_memory,
  quota_diskspace, quota_traffic, quota_cputime, quota_continuous_factor, error_dump_interval
) = (
  select
    r.host_update_interval, r.resource_sync_interval, r.availability_half_life, r.topology_timeout_initial,
    r.topology_timeout_default, r.topology_timeout_maximum, r.topology_timeout_warning, r.topology_timeout_options,
    r.quota_memory, r.quota_diskspace, r.quota_traffic, r.quota_cputime, r.quota_continuous_factor,
    r.error_dump_interval
  from jsonb_populate_record(s, :patch) r
)
returning
  s.host_update_interval, s.resource_sync_interval, s.availability_half_life, s.topology_timeout_initial,
  s.topology_timeout_default, s.topology_timeout_maximum, s.topology_timeout_warning, s.topology_timeout_options,
  s.quota_memory, s.quota_diskspace, s.quota_traffic, s.quota_cputime, s.quota_continuous_factor, s.error_dump_interval;
