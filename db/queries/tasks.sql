-- name: claim(name, period, lease)^
-- record_class: TaskClaim
-- Claim a task if its period since its start is over or the lease on it ran out.
insert into tasks as t (name, started_at, run_lease_until)
values (:name, now(), now() + :lease::interval)
on conflict (name) do update
  set started_at = excluded.started_at, run_lease_until = excluded.run_lease_until
  where
  case
    when t.run_lease_until is null then t.started_at <= now() - :period::interval
    else t.run_lease_until <= now()
  end
returning t.name, t.started_at, t.run_lease_until as lease_until;

-- name: extend(name, lease_until, lease)^
-- Let a lease on a task end that much later than now, unless it was lost.
update tasks t set run_lease_until = now() + :lease::interval
where t.name = :name and t.run_lease_until = :lease_until::timestamptz
returning t.run_lease_until;

-- name: finish(name, lease_until)!
-- Finish a task: it is due again when its period is over.
update tasks t set run_lease_until = null
where t.name = :name and t.run_lease_until = :lease_until::timestamptz;

-- name: list()
-- record_class: Task
-- Return all tasks that were ever claimed, ordered by name.
select t.name, t.started_at, t.run_lease_until as lease_until
from tasks t
order by t.name;
