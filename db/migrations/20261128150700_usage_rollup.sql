-- migrate:up

-- The books of the rollup, so that the cost of a run depends on what is new and not on what is stored. They have no foreign
-- keys: entries of removed objects drop out when their time comes.

-- Records of host components that no run has taken up yet.
create table usage_arrivals (
  end_at instant not null,
  usage_id bigint not null,
  primary key (end_at, usage_id)
);

-- Records that must be written, because something that they are made of is there.
create table usage_due (
  type text not null constraint usage_due_type_check check (type in ('5minutes', 'hour', 'day', 'month', 'year')),
  end_at instant not null,
  usage_id bigint not null,
  primary key (type, end_at, usage_id)
);

-- One row: the moment up to which all 5-minute windows are settled, the time of the last run, and the time of the first run
-- after an outage. No row: nothing was rolled up here yet. No time of a run: an old installation's records were loaded.
create table usage_progress (
  id smallint primary key default 1 constraint usage_progress_id_check check (id = 1),
  settled_at instant not null,
  ran_at instant,
  resumed_at instant
);

-- One row while a run is unfinished, that is, left by a statement whose time was over, for the next one to go on with: the
-- moment of the run; its step (find_due_usage -5 to -1, take_usage 0, roll_up_usage 1 to 4, reopen_usage 5, then for each
-- type combine_usage and prune_usage, 6 to 15) and where in it the next part begins; what was settled before, what is now, and
-- since when, as in usage_progress; the objects with new records of the step's type, with new ones of the next, and with
-- records that were kept open through an outage; and what the run has done so far.
create table usage_run (
  id smallint primary key default 1 constraint usage_run_id_check check (id = 1),
  moment instant not null,
  step integer not null,
  after_end instant not null,
  after_id bigint not null,
  settled_before instant,
  settled instant not null,
  ran_before instant,
  resumed instant,
  started instant,
  grown bigint[] not null,
  built bigint[] not null,
  reopened bigint[] not null,
  written bigint not null,
  pruned bigint not null,
  late bigint not null
);

-- The present use of an object: its 5-minute record of the newest settled window, or of a later one that is complete. No row
-- if it has none there, so that what was stopped shows no use. Several queries share it, and the planner merges it into each.
create function current_usage(of_usage_id bigint) returns setof usage_records language sql stable rows 1
begin atomic
  select r.*
  from usage_records r
  where
    r.usage_id = of_usage_id and r.type = '5minutes'
    and r.end_at > coalesce((select p.settled_at from usage_progress p), '-infinity') - interval '5 minutes'
  order by r.end_at desc
  limit 1;
end;

-- Go on to a step of a run, at its beginning.
create function usage_step(run usage_run, next integer) returns usage_run language plpgsql immutable
set search_path from current
as $$
begin
  run.step := next;
  run.after_end := '0001-01-01 00:00:00+00';
  run.after_id := '-9223372036854775808';
  return run;
end;
$$;

-- Steps -5 to -1: fill usage_due from the records themselves if the books are empty: after the load of an old installation,
-- whose accounting stopped somewhere in its midst. Windows that were open are due to all that stand above sources with newer
-- windows than their own, level after level; and longer periods that were not built yet. Each call looks at so many objects.
-- Records are read by key only, and “offset 0” keeps it so: what was built already is most of the table.
create function find_due_usage(run usage_run, part integer) returns usage_run language plpgsql
set enable_nestloop = on
set search_path from current
as $$
declare
  depth constant integer := run.step + 6;
  up_to bigint;
begin
  select max(u.id) into up_to
  from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  if up_to is null then
    return usage_step(run, run.step + 1);
  end if;
  if run.step < -1 then
    with above as materialized (
      select
        u.usage_id,
        coalesce(
          (select max(r.end_at) from usage_records r where r.usage_id = u.usage_id and r.type = '5minutes'), '-infinity'
        ) as newest
      from (
        select distinct s.usage_id
        from usage_sources s
        where s.level = depth and s.usage_id > run.after_id and s.usage_id <= up_to
      ) u
    ),

    sources as materialized (
      select a.usage_id, a.newest, s.source_id
      from above a
      inner join usage_sources s on s.usage_id = a.usage_id
      where s.level = depth and s.usage_id > run.after_id and s.usage_id <= up_to and s.source_id is not null
    )

    insert into usage_due (type, end_at, usage_id)
    select '5minutes', usage_period_end('5minutes', w.end_at), s.usage_id
    from sources s
    cross join lateral (
      select r.end_at from usage_records r
      where r.usage_id = s.source_id and r.type = '5minutes' and r.end_at > s.newest
      offset 0
    ) w
    union
    select '5minutes', d.end_at, s.usage_id
    from sources s
    inner join usage_due d on d.usage_id = s.source_id
    where d.type = '5minutes' and d.end_at > s.newest
    on conflict do nothing;
  else
    insert into usage_due (type, end_at, usage_id)
    select distinct p.longer, usage_period_end(p.longer, w.end_at), u.id
    from (values ('5minutes', 'hour'), ('hour', 'day'), ('day', 'month'), ('month', 'year')) p (type, longer)
    cross join usage_statistics u
    cross join lateral (
      select r.end_at from usage_records r
      where
        r.usage_id = u.id and r.type = p.type
        and r.end_at > coalesce(
          (select max(l.end_at) from usage_records l where l.usage_id = u.id and l.type = p.longer), '-infinity'
        )
      offset 0
    ) w
    where
      u.id > run.after_id and u.id <= up_to
      and not exists (select from host_elements he where he.usage_id = u.id)
      and not exists (select from host_connections hc where hc.usage_id = u.id)
    on conflict do nothing;
  end if;
  run.after_id := up_to;
  return run;
end;
$$;

-- migrate:down

drop function find_due_usage(usage_run, integer);
drop function usage_step(usage_run, integer);
drop function current_usage(bigint);
drop table usage_run;
drop table usage_progress;
drop table usage_due;
drop table usage_arrivals;
