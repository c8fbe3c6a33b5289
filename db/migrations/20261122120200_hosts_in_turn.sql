-- migrate:up

-- Claims in turn: what was claimed and not finished, as a host could not be reached, comes after all that waits since before
-- its lease ran out. A lease is set when something is claimed, and null once that is finished.

-- Hosts are few.
-- squawk-ignore require-concurrent-index-creation
create index hosts_sync_turn_idx on hosts (
  coalesce(greatest(resources_synced_at, sync_lease_until), '-infinity')
) where enabled;
-- squawk-ignore require-concurrent-index-creation
create index hosts_problem_turn_idx on hosts (greatest(problem_since, problem_lease_until)) where problem_since is not null;
-- squawk-ignore require-concurrent-index-deletion
drop index hosts_sync_due_idx;
-- squawk-ignore require-concurrent-index-deletion
drop index hosts_problem_since_idx;

-- When a topology's timeout asks for its next step; null where there is none. By way of UTC, so that it is immutable.
create function timeout_due_at(step smallint, timeout_at timestamptz) returns timestamptz language sql immutable parallel safe
return case step
  when 0 then timeout_at at time zone 'UTC' - interval '24 hours'
  when 9 then timeout_at at time zone 'UTC'
  when 10 then timeout_at at time zone 'UTC' + interval '24 hours'
end at time zone 'UTC';

-- migrate:down

drop function timeout_due_at(smallint, timestamptz);
create index hosts_problem_since_idx on hosts (problem_since) where problem_since is not null;
create index hosts_sync_due_idx on hosts (coalesce(resources_synced_at, '-infinity')) where enabled;
drop index hosts_problem_turn_idx;
drop index hosts_sync_turn_idx;
