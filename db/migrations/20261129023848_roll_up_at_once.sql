-- migrate:up
-- compatible: 20261128150900

-- Most windows are ready as soon as the last record comes, and need no place in the books: they are rolled up when they are
-- found, level after level, and so the sources of each level are read once a run and not twice. The same records, in a fifth
-- less time.

-- Roll up what is ready at a level, of windows that are due, or of those above new records ('new'), and then of the next level.
-- A window is ready once all sources have their records. One that is not becomes due, and once it is settled, as a due one, it
-- is rolled up with those that are there. So most windows never become due. With 'deferred' records all do: more will come of
-- the same windows. New records below windows that were rolled up before, or are settled, count as late. A record counts as
-- there once its arrival was taken up, so that what is imported at this moment is seen as late next time. Who is being
-- removed is left alone.
create function roll_up_windows(run usage_run, depth integer, kind text, ids bigint[], ends timestamptz[])
returns usage_run language plpgsql
set search_path from current
as $$
declare
  all_taken constant boolean := not exists (select from usage_arrivals);  -- mostly; then none is looked up
  new_ids bigint[];
  new_ends timestamptz[];
  late_records bigint;
begin
  with level as materialized (
    select s.usage_id, s.source_id
    from usage_sources s
    where s.level = depth and s.usage_id is not null and s.source_id is not null
  ),

  above as materialized (
    select
      g.*, g.end_at <= run.settled_before or (
        select r.end_at from usage_records r
        where r.usage_id = g.usage_id and r.type = '5minutes' and r.end_at = g.end_at
      ) is not null as is_closed
    from (
      select l.usage_id, n.end_at, array_agg(n.place) as places
      from (
        select u.usage_id, usage_period_end('5minutes', u.end_at) as end_at, u.place
        from unnest(ids, ends) with ordinality u (usage_id, end_at, place)
      ) n
      inner join level l on l.source_id = n.usage_id
      where kind <> 'due'
      group by l.usage_id, n.end_at
    ) g
  ),

  windows as materialized (
    select w.usage_id, w.end_at from unnest(ids, ends) w (usage_id, end_at) where kind = 'due'
    union all
    select a.usage_id, a.end_at from above a where a.is_closed is not true
  ),

  sources as (
    select w.usage_id, w.end_at, f.*
    from (
      select w.usage_id, w.end_at, l.source_id
      from windows w
      inner join level l on l.usage_id = w.usage_id
      where kind <> 'deferred'
      order by l.source_id
    ) w
    cross join lateral (
      select
        count(*) as found, sum(r.measurements::float8) as measurements, sum(r.traffic) as traffic, sum(r.cputime) as cputime,
        sum(r.memory * date_part('epoch', r.end_at - r.begin_at) / 300) as memory,
        sum(r.diskspace * date_part('epoch', r.end_at - r.begin_at) / 300) as diskspace
      from usage_records r
      where
        r.usage_id = w.source_id and r.type = '5minutes'
        and r.end_at > w.end_at - interval '5 minutes' and r.end_at <= w.end_at
        and (
          all_taken
          or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null
        )
    ) f
  ),

  ready as (
    select
      s.usage_id, s.end_at, sum(s.measurements) as measurements, sum(s.memory) as memory,
      sum(s.diskspace) as diskspace, sum(s.traffic) as traffic, sum(s.cputime) as cputime
    from sources s
    group by s.usage_id, s.end_at
    having min(s.found) > 0 or (kind = 'due' and s.end_at <= run.settled and sum(s.found) > 0)
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

  waiting as (
    insert into usage_due (type, end_at, usage_id)
    select '5minutes', w.end_at, w.usage_id
    from windows w
    left join kept k on k.usage_id = w.usage_id and k.end_at = w.end_at
    where kind <> 'due' and k.usage_id is null
    on conflict do nothing
  ),

  longer as (
    insert into usage_due (type, end_at, usage_id)
    select h.type, h.end_at, h.usage_id
    from (
      select distinct 'hour' as type, usage_period_end('hour', k.end_at) as end_at, k.usage_id
      from kept k
    ) h
    left join usage_due d on d.type = h.type and d.end_at = h.end_at and d.usage_id = h.usage_id
    where d.usage_id is null
    on conflict do nothing
  )

  select
    coalesce(array_agg(k.usage_id), '{}'), coalesce(array_agg(k.end_at), '{}'),
    (select count(distinct p.place) from above a cross join lateral unnest(a.places) p (place) where a.is_closed)
  into new_ids, new_ends, late_records
  from kept k;
  run.late := run.late + late_records;
  run.written := run.written + cardinality(new_ids);
  run.grown := run.grown || new_ids;
  if new_ids <> '{}' and depth < 4 then
    run := roll_up_windows(run, depth + 1, 'new', new_ids, new_ends);
  end if;
  return run;
end;
$$;

-- Only the functions below called it.
-- squawk-ignore ban-drop-function
drop function open_usage(usage_run, integer, bigint[], timestamptz[]);

-- Step 0: take up new records of host components, so many of the oldest, and roll up what they complete, unless there are more.
-- When none is left, windows are settled.
create or replace function take_usage(run usage_run, part integer) returns usage_run language plpgsql
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
    run := roll_up_windows(
      run, 1, case when cardinality(new_ids) = part then 'deferred' else 'new' end, new_ids, new_ends
    );
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

-- Steps 1 to 4: roll up due windows of a level, so many of the oldest.
create or replace function roll_up_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
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
    run := roll_up_windows(run, run.step, 'due', due_ids, due_ends);
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

-- Steps 7, 9, …: prune records of a type, of so many objects. Beyond the newest of each object all go, but what is not
-- settled or is needed for a longer record; and what was settled only now, many windows at once after an outage, before
-- it counts against its user's quota. Records of an object that is being removed are passed over: waiting for them could
-- deadlock with the removal. The newest are counted in the index alone, where the table was vacuumed. The type is named beside
-- the place, which is unique in one partition only, should the table be partitioned.
create or replace function prune_usage(run usage_run, part integer) returns usage_run language plpgsql
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
      select r.end_at
      from usage_records r
      where r.usage_id = o.usage_id and r.type = of_type
      order by r.end_at desc
      offset keep
    ) old
    cross join lateral (
      select r.ctid from usage_records r
      where r.usage_id = o.usage_id and r.type = of_type and r.end_at = old.end_at
      for update skip locked
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

-- migrate:down

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

create or replace function take_usage(run usage_run, part integer) returns usage_run language plpgsql
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

create or replace function roll_up_usage(run usage_run, part integer) returns usage_run language plpgsql
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

create or replace function prune_usage(run usage_run, part integer) returns usage_run language plpgsql
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

drop function roll_up_windows(usage_run, integer, text, bigint[], timestamptz[]);
