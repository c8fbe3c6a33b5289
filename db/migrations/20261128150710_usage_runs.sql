-- migrate:up

-- A run, step by step; each call of a step does a part of it.

-- Make the windows of what stands above new records due, at a level, unless they were rolled up before; these count as late.
create function open_usage(run usage_run, depth integer, new_ids bigint[], new_ends timestamptz[])
returns usage_run language plpgsql
set search_path from current
as $$
begin
  with above as materialized (
    select
      g.*, g.end_at <= run.settled_before or (
        select r.end_at from usage_records r
        where r.usage_id = g.usage_id and r.type = '5minutes' and r.end_at = g.end_at
      ) is not null as is_closed
    from (
      select s.usage_id, n.end_at, array_agg(n.place) as places
      from (
        select u.usage_id, usage_period_end('5minutes', u.end_at) as end_at, u.place
        from unnest(new_ids, new_ends) with ordinality u (usage_id, end_at, place)
      ) n
      inner join usage_sources s on s.source_id = n.usage_id
      where s.level = depth and s.usage_id is not null
      group by s.usage_id, n.end_at
      order by s.usage_id
    ) g
  ),

  opened as (
    insert into usage_due (type, end_at, usage_id)
    select '5minutes', a.end_at, a.usage_id
    from above a
    where a.is_closed is not true
    on conflict do nothing
  )

  select run.late + count(distinct p.place) into run.late
  from above a
  cross join lateral unnest(a.places) p (place)
  where a.is_closed;
  return run;
end;
$$;

-- Step 0: take up new records of host components, so many of the oldest. When none is left, windows are settled.
create function take_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  new_ids bigint[];
  new_ends timestamptz[];
begin
  with taken as (
    delete from usage_arrivals a
    where a.ctid = any(array(select b.ctid from usage_arrivals b order by b.end_at, b.usage_id limit part))
    returning a.usage_id, a.end_at
  )
  select coalesce(array_agg(t.usage_id), '{}'), coalesce(array_agg(t.end_at), '{}') into new_ids, new_ends
  from taken t;
  run.grown := run.grown || new_ids;
  if cardinality(run.grown) > 1000000 then
    run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  end if;
  if new_ids <> '{}' then
    run := open_usage(run, 1, new_ids, new_ends);
  end if;
  if cardinality(new_ids) = part then
    return run;
  end if;

  if run.moment < greatest(run.resumed, run.started) + interval '15 minutes' then
    run.settled := coalesce(run.settled_before, '0001-01-01 00:00:00+00');
  else
    run.settled := greatest(date_bin('5 minutes', run.moment - interval '15 minutes', 'epoch'), run.settled_before);
  end if;
  insert into usage_progress (settled_at, ran_at, resumed_at)
  values (run.settled, greatest(run.moment, run.ran_before), run.resumed)
  on conflict (id) do update
    set settled_at = excluded.settled_at, ran_at = excluded.ran_at, resumed_at = excluded.resumed_at;
  return usage_step(run, 1);
end;
$$;

-- Steps 1 to 4: roll up due windows of a level, so many of the oldest. A window is rolled up once all sources have theirs, or
-- it is settled. A record counts once its arrival was taken up, so that what is imported at this moment is seen as late next
-- time. Who is being removed is left alone.
create function roll_up_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
  new_ids bigint[];
  new_ends timestamptz[];
begin
  select coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(d.end_at), '{}'), count(*) into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where d.type = '5minutes' and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    with sources as (
      select d.usage_id, d.end_at, f.*
      from (
        select d.usage_id, d.end_at, s.source_id
        from unnest(due_ids, due_ends) d (usage_id, end_at)
        inner join usage_sources s on s.usage_id = d.usage_id
        where s.level = run.step and s.source_id is not null
        order by s.source_id
      ) d
      cross join lateral (
        select
          count(*) as found, sum(r.measurements::float8) as measurements, sum(r.traffic) as traffic, sum(r.cputime) as cputime,
          sum(r.memory * date_part('epoch', r.end_at - r.begin_at) / 300) as memory,
          sum(r.diskspace * date_part('epoch', r.end_at - r.begin_at) / 300) as diskspace
        from usage_records r
        where
          r.usage_id = d.source_id and r.type = '5minutes'
          and r.end_at > d.end_at - interval '5 minutes' and r.end_at <= d.end_at
          and (
            select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id
          ) is null
      ) f
    ),

    ready as (
      select
        s.usage_id, s.end_at, sum(s.measurements) as measurements, sum(s.memory) as memory,
        sum(s.diskspace) as diskspace, sum(s.traffic) as traffic, sum(s.cputime) as cputime
      from sources s
      group by s.usage_id, s.end_at
      having sum(s.found) > 0 and (s.end_at <= run.settled or min(s.found) > 0)
    ),

    kept as materialized (
      select r.*
      from ready r
      cross join lateral (
        select from usage_statistics u where u.id = r.usage_id for key share skip locked
      ) present
    ),

    rolled_up as (
      insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      select
        k.usage_id, '5minutes', k.end_at - interval '5 minutes', k.end_at, k.measurements, k.memory, k.diskspace,
        k.traffic, k.cputime
      from kept k
      order by k.usage_id
      on conflict do nothing
    ),

    done as (
      delete from usage_due d
      using kept k
      where d.type = '5minutes' and d.end_at = k.end_at and d.usage_id = k.usage_id
    ),

    longer as (
      insert into usage_due (type, end_at, usage_id)
      select distinct 'hour', usage_period_end('hour', k.end_at), k.usage_id
      from kept k
      on conflict do nothing
    )

    select coalesce(array_agg(k.usage_id), '{}'), coalesce(array_agg(k.end_at), '{}') into new_ids, new_ends
    from kept k;
    run.written := run.written + cardinality(new_ids);
    run.grown := run.grown || new_ids;
    if new_ids <> '{}' and run.step < 4 then
      run := open_usage(run, run.step + 1, new_ids, new_ends);
    end if;
  end if;
  if due = part then
    run.after_end := due_ends[due];
    run.after_id := due_ids[due];
    return run;
  end if;
  -- Of what is due for an hour after it was settled, no source is there any more.
  if run.step = 4 then
    delete from usage_due d where d.type = '5minutes' and d.end_at <= run.settled - interval '1 hour';
  end if;
  return usage_step(run, run.step + 1);
end;
$$;

-- Step 5: find who has records that were kept open through an outage, and are settled now, among so many objects.
create function reopen_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  up_to bigint;
begin
  if run.settled > run.settled_before + interval '5 minutes' then
    select max(u.id) into up_to
    from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  end if;
  if up_to is not null then
    run.reopened := run.reopened || array(
      select u.id
      from usage_statistics u
      where
        u.id > run.after_id and u.id <= up_to
        and (
          select r.end_at from usage_records r
          where r.usage_id = u.id and r.end_at > run.settled_before and r.end_at <= run.settled
          limit 1
        ) is not null
    );
    run.after_id := up_to;
    return run;
  end if;
  run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  return usage_step(run, 6);
end;
$$;

-- Steps 6, 8, …: build records of the next type, of so many periods that are due. A period is built once it is over and all its
-- windows are settled, or there before their time.
create function combine_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  types constant text[] := '{5minutes,hour,day,month,year}';
  n constant integer := (run.step - 4) / 2;
  of_type constant text := types[n];
  longer_type constant text := types[n + 1];
  next_type constant text := types[n + 2];
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
  new_ids bigint[];
begin
  select coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(d.end_at), '{}'), count(*) into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where
      d.type = longer_type and d.end_at <= run.moment and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    with ready as (
      select d.usage_id, usage_period_begin(longer_type, d.end_at) as begin_at, d.end_at
      from unnest(due_ids, due_ends) d (usage_id, end_at)
      where
        d.end_at <= run.settled or (
          select count(*) * interval '5 minutes' from usage_records r
          where
            r.usage_id = d.usage_id and r.type = '5minutes' and r.end_at <= d.end_at
            and r.end_at > greatest(run.settled, usage_period_begin(longer_type, d.end_at))
        ) = d.end_at - greatest(run.settled, usage_period_begin(longer_type, d.end_at))
    ),

    summed as materialized (
      select r.*, f.*
      from ready r
      cross join lateral (
        select
          count(*) as found, sum(p.measurements::float8) as measurements, sum(p.traffic) as traffic,
          sum(p.cputime) as cputime,
          coalesce(sum(p.memory * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.memory)) as memory,
          coalesce(
            sum(p.diskspace * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.diskspace)
          ) as diskspace
        from usage_records p
        where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
      ) f
    ),

    kept as materialized (
      select s.*
      from summed s
      cross join lateral (
        select from usage_statistics u where u.id = s.usage_id for key share skip locked
      ) present
      where s.found > 0
    ),

    combined as (
      insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      select
        k.usage_id, longer_type, k.begin_at, k.end_at, k.measurements, k.memory, k.diskspace, k.traffic, k.cputime
      from kept k
      order by k.usage_id
      on conflict do nothing
    ),

    done as (
      delete from usage_due d
      using summed s
      left join kept k on k.usage_id = s.usage_id and k.end_at = s.end_at
      where
        d.type = longer_type and d.end_at = s.end_at and d.usage_id = s.usage_id
        and (s.found = 0 or k.usage_id is not null)
    ),

    longer as (
      insert into usage_due (type, end_at, usage_id)
      select distinct next_type, usage_period_end(next_type, k.end_at), k.usage_id
      from kept k
      where next_type is not null
      on conflict do nothing
    )

    select coalesce(array_agg(k.usage_id), '{}') into new_ids
    from kept k;
    run.written := run.written + cardinality(new_ids);
    run.built := run.built || new_ids;
  end if;
  if due = part then
    run.after_end := due_ends[due];
    run.after_id := due_ids[due];
    return run;
  end if;
  run.grown := array(select distinct u.id from unnest(run.grown || run.built || run.reopened) u (id) order by u.id);
  run := usage_step(run, run.step + 1);
  run.after_id := 0;
  return run;
end;
$$;

-- Steps 7, 9, …: prune records of a type, of so many objects. Beyond the newest of each object all go, but what is not
-- settled or is needed for a longer record; and what was settled only now, many windows at once after an outage, before
-- it counts against its user's quota. Records of an object that is being removed are passed over: waiting for them could
-- deadlock with the removal. The type is named beside the place, which is unique in one partition only, should the table
-- be partitioned.
create function prune_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  types constant text[] := '{5minutes,hour,day,month,year}';
  n constant integer := (run.step - 4) / 2;
  of_type constant text := types[n];
  longer_type constant text := types[n + 1];
  keep constant integer := ('{12,24,30,12,5}'::integer[])[n];
  month_begin constant timestamptz := usage_period_begin('month', usage_period_end('month', run.moment));
  after constant integer := run.after_id;  -- how many objects of the list are done
  counted bigint;
begin
  delete from usage_records r
  where r.type = of_type and r.ctid = any(array(
    select held.ctid
    from unnest(run.grown[after + 1 : after + part]) o (usage_id)
    cross join lateral (
      select r.ctid, r.end_at
      from usage_records r
      where r.usage_id = o.usage_id and r.type = of_type
      order by r.end_at desc
      offset keep
    ) old
    cross join lateral (
      select r.ctid from usage_records r where r.type = of_type and r.ctid = old.ctid for update skip locked
    ) held
    where old.end_at <= run.settled and (
      select d.end_at from usage_due d
      where d.type = longer_type and d.end_at = usage_period_end(longer_type, old.end_at) and d.usage_id = o.usage_id
    ) is null and (
      of_type <> '5minutes' or old.end_at <= coalesce(run.settled_before, 'infinity') or old.end_at <= month_begin or (
        select (select q.used_at from quotas q where q.user_id = u.id) from users u where u.usage_id = o.usage_id
      ) < old.end_at is not true
    )
  ));
  get diagnostics counted = row_count;
  run.pruned := run.pruned + counted;
  run.after_id := after + part;
  if run.after_id >= cardinality(run.grown) then
    run.grown := run.built;
    run.built := '{}';
    return usage_step(run, run.step + 1);
  end if;
  return run;
end;
$$;

-- Do the accounting that is due at this moment, or go on with a run that is unfinished, for some seconds: the time limit of a
-- statement must not end what the next run would begin anew. See Usage.aggregate in tomato_dao/dao/usage.py.
--
-- The plans must not depend on statistics, which are stale after a load: joins are never nested loops, and records are read by
-- key only, in lateral aggregates and scalar subqueries, which are always index scans.
create function aggregate_usage(
  moment timestamptz, started_at timestamptz,
  out ran boolean, out written bigint, out pruned bigint, out late bigint, out waiting bigint, out unfinished boolean
) language plpgsql
set enable_nestloop = off
set jit = off
set plan_cache_mode = force_custom_plan
set search_path from current
as $$
declare
  part constant integer := 50000;  -- records, windows or objects that are worked on between two looks at the clock
  until constant timestamptz := clock_timestamp() + interval '10 seconds';
  run usage_run;
begin
  written := 0;
  pruned := 0;
  late := 0;
  waiting := 0;
  unfinished := false;
  ran := pg_try_advisory_xact_lock(504446936933);  -- "usage"
  if not ran then
    return;
  end if;

  delete from usage_run u returning u.* into run;
  if run.id is null then
    run.id := 1;
    run.moment := aggregate_usage.moment;
    run.started := started_at;
    run.settled := '0001-01-01 00:00:00+00';
    run.grown := '{}';
    run.built := '{}';
    run.reopened := '{}';
    run.written := 0;
    run.pruned := 0;
    run.late := 0;
    select p.settled_at, p.ran_at, p.resumed_at into run.settled_before, run.ran_before, run.resumed from usage_progress p;
    -- Nobody ran for longer than a window, or not since the old installation: what hosts measured meanwhile is still to come.
    if run.moment > run.ran_before + interval '5 minutes' or (run.ran_before is null and run.settled_before is not null) then
      run.resumed := run.moment;
    end if;
    run := usage_step(run, case when run.ran_before is null then -5 else 0 end);
  end if;

  loop
    run := case
      when run.step < 0 then find_due_usage(run, part)
      when run.step = 0 then take_usage(run, part)
      when run.step < 5 then roll_up_usage(run, part)
      when run.step = 5 then reopen_usage(run, part)
      when run.step % 2 = 0 then combine_usage(run, part)
      else prune_usage(run, part)
    end;
    exit when run.step > 15;
    if clock_timestamp() >= until then
      insert into usage_run select run.*;
      unfinished := true;
      exit;
    end if;
  end loop;
  written := run.written;
  pruned := run.pruned;
  late := run.late;
  select count(*) into waiting from usage_arrivals a;
end;
$$;

-- migrate:down

drop function aggregate_usage(timestamptz, timestamptz);
drop function combine_usage(usage_run, integer);
drop function prune_usage(usage_run, integer);
drop function reopen_usage(usage_run, integer);
drop function roll_up_usage(usage_run, integer);
drop function take_usage(usage_run, integer);
drop function open_usage(usage_run, integer, bigint[], timestamptz[]);
