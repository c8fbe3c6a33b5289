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

-- Fill usage_due from the records themselves if the books are empty: after the load of an old installation, whose accounting
-- stopped somewhere in its midst. Windows that were open are due to all that stand above sources with newer windows than
-- their own, level after level; and longer periods that were not built yet. Records are read by key only, and “offset 0” keeps
-- it so: what was built already is most of the table.
create function find_due_usage() returns void language plpgsql
set jit = off
set search_path from current
as $$
begin
  for depth in 1..4 loop
    with above as materialized (
      select
        u.usage_id,
        coalesce(
          (select max(r.end_at) from usage_records r where r.usage_id = u.usage_id and r.type = '5minutes'), '-infinity'
        ) as newest
      from (select distinct s.usage_id from usage_sources s where s.level = depth and s.usage_id is not null) u
    ),

    sources as materialized (
      select a.usage_id, a.newest, s.source_id
      from above a
      inner join usage_sources s on s.usage_id = a.usage_id
      where s.level = depth and s.source_id is not null
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
  end loop;

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
    not exists (select from host_elements he where he.usage_id = u.id)
    and not exists (select from host_connections hc where hc.usage_id = u.id)
  on conflict do nothing;
end;
$$;

-- Do all accounting that is due at this moment; see Usage.aggregate in tomato_dao/dao/usage.py.
--
-- The plans must not depend on statistics, which are stale after a load: joins are never nested loops, and records are read by
-- key only, in lateral aggregates and scalar subqueries, which are always index scans.
create function aggregate_usage(
  moment timestamptz, started_at timestamptz,
  out ran boolean, out written bigint, out pruned bigint, out late bigint, out waiting bigint
) language plpgsql
set enable_nestloop = off
set jit = off
set plan_cache_mode = force_custom_plan
set search_path from current
as $$
declare
  most constant integer := 200000;  -- records that a run takes up, so that a backlog of days can't outlast a time limit
  settled_before timestamptz;
  settled timestamptz;
  ran_before timestamptz;
  resumed timestamptz;
  month_begin constant timestamptz := usage_period_begin('month', usage_period_end('month', moment));
  up_to timestamptz;  -- the end of the last window that this run takes up
  new_ids bigint[];  -- whose records are new
  new_ends timestamptz[];  -- and when each ends
  grown bigint[] := '{}';  -- who has new records of a type
  built bigint[];
  reopened bigint[] := '{}';  -- who has records that were kept open through an outage, and are settled now
  step record;
  counted bigint;
begin
  written := 0;
  pruned := 0;
  late := 0;
  waiting := 0;
  ran := pg_try_advisory_xact_lock(504446936933);  -- "usage"
  if not ran then
    return;
  end if;

  select p.settled_at, p.ran_at, p.resumed_at into settled_before, ran_before, resumed from usage_progress p;
  if ran_before is null then
    perform find_due_usage();
  end if;
  -- Nobody ran for longer than a window, or not since the old installation: what hosts measured meanwhile is still to come.
  if moment > ran_before + interval '5 minutes' or (ran_before is null and settled_before is not null) then
    resumed := moment;
  end if;
  select usage_period_end('5minutes', max(a.end_at)), count(*) into up_to, counted
  from (select a.end_at from usage_arrivals a order by a.end_at limit most) a;
  if moment < greatest(resumed, started_at) + interval '15 minutes' then
    settled := coalesce(settled_before, '0001-01-01 00:00:00+00');
  else
    settled := date_bin('5 minutes', moment - interval '15 minutes', 'epoch');
    if counted = most then
      settled := least(settled, up_to);
    end if;
    settled := greatest(settled, settled_before);
  end if;
  insert into usage_progress (settled_at, ran_at, resumed_at) values (settled, greatest(moment, ran_before), resumed)
  on conflict (id) do update
    set settled_at = excluded.settled_at, ran_at = excluded.ran_at, resumed_at = excluded.resumed_at;

  if settled > settled_before + interval '5 minutes' then
    reopened := array(
      select distinct r.usage_id from usage_records r where r.end_at > settled_before and r.end_at <= settled
    );
  end if;

  with taken as (
    delete from usage_arrivals a where a.end_at <= up_to
    returning a.usage_id, a.end_at
  )
  select coalesce(array_agg(t.usage_id), '{}'), coalesce(array_agg(t.end_at), '{}') into new_ids, new_ends
  from taken t;

  for depth in 1..4 loop
    grown := grown || new_ids;
    exit when new_ids = '{}' and not exists (select from usage_due d where d.type = '5minutes');

    -- The windows of what stands above new records are due, unless they were rolled up before.
    with above as materialized (
      select
        g.*, g.end_at <= settled_before or (
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

    select late + count(distinct p.place) into late
    from above a
    cross join lateral unnest(a.places) p (place)
    where a.is_closed;

    -- A window is rolled up once all sources have theirs, or it is settled. A record counts once its arrival was taken up,
    -- so that what is imported at this moment is seen as late next time. Who is being removed is left alone.
    with sources as (
      select d.usage_id, d.end_at, f.*
      from (
        select d.usage_id, d.end_at, s.source_id
        from usage_due d
        inner join usage_sources s on s.usage_id = d.usage_id
        where d.type = '5minutes' and s.level = depth and s.source_id is not null
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
      having sum(s.found) > 0 and (s.end_at <= settled or min(s.found) > 0)
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
    written := written + cardinality(new_ids);
  end loop;
  grown := grown || new_ids;
  -- Windows due for an hour after they were settled have no sources any more.
  delete from usage_due d where d.type = '5minutes' and d.end_at <= settled - interval '1 hour';

  for step in
    select s.*
    from (
      values
      ('5minutes', 12, 'hour', 'day'), ('hour', 24, 'day', 'month'), ('day', 30, 'month', 'year'),
      ('month', 12, 'year', null), ('year', 5, null, null)
    ) s (type, kept, longer, next)
  loop
    -- A period is built once it is over and all its windows are settled, or there before their time.
    with ready as (
      select d.usage_id, usage_period_begin(step.longer, d.end_at) as begin_at, d.end_at
      from usage_due d
      where d.type = step.longer and d.end_at <= moment and (
        d.end_at <= settled or (
          select count(*) * interval '5 minutes' from usage_records r
          where
            r.usage_id = d.usage_id and r.type = '5minutes' and r.end_at <= d.end_at
            and r.end_at > greatest(settled, usage_period_begin(step.longer, d.end_at))
        ) = d.end_at - greatest(settled, usage_period_begin(step.longer, d.end_at))
      )
    ),

    summed as materialized (
      select r.*, f.*
      from ready r
      cross join lateral (
        select
          count(*) as found, sum(p.measurements::float8) as measurements, sum(p.traffic) as traffic, sum(p.cputime) as cputime,
          coalesce(sum(p.memory * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.memory)) as memory,
          coalesce(
            sum(p.diskspace * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.diskspace)
          ) as diskspace
        from usage_records p
        where p.usage_id = r.usage_id and p.type = step.type and p.end_at > r.begin_at and p.end_at <= r.end_at
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
        k.usage_id, step.longer, k.begin_at, k.end_at, k.measurements, k.memory, k.diskspace, k.traffic, k.cputime
      from kept k
      order by k.usage_id
      on conflict do nothing
    ),

    done as (
      delete from usage_due d
      using summed s
      left join kept k on k.usage_id = s.usage_id and k.end_at = s.end_at
      where
        d.type = step.longer and d.end_at = s.end_at and d.usage_id = s.usage_id
        and (s.found = 0 or k.usage_id is not null)
    ),

    longer as (
      insert into usage_due (type, end_at, usage_id)
      select distinct step.next, usage_period_end(step.next, k.end_at), k.usage_id
      from kept k
      where step.next is not null
      on conflict do nothing
    )

    select coalesce(array_agg(k.usage_id), '{}') into built
    from kept k;
    written := written + cardinality(built);

    -- Beyond the newest of each object all go, but what is not settled or is needed for a longer record; and what was
    -- settled only now, many windows at once after an outage, before it counts against its user's quota. Records of an object
    -- that is being removed are passed over: waiting for them could deadlock with the removal. The type is named beside the
    -- place, which is unique in one partition only, should the table be partitioned.
    delete from usage_records r
    where r.type = step.type and r.ctid = any(array(
      select held.ctid
      from (select distinct u.usage_id from unnest(grown || built || reopened) u (usage_id) order by u.usage_id) o
      cross join lateral (
        select r.ctid, r.end_at
        from usage_records r
        where r.usage_id = o.usage_id and r.type = step.type
        order by r.end_at desc
        offset step.kept
      ) old
      cross join lateral (
        select r.ctid from usage_records r where r.type = step.type and r.ctid = old.ctid for update skip locked
      ) held
      where old.end_at <= settled and (
        select d.end_at from usage_due d
        where d.type = step.longer and d.end_at = usage_period_end(step.longer, old.end_at) and d.usage_id = o.usage_id
      ) is null and (
        step.type <> '5minutes' or old.end_at <= coalesce(settled_before, 'infinity') or old.end_at <= month_begin or (
          select (select q.used_at from quotas q where q.user_id = u.id) from users u where u.usage_id = o.usage_id
        ) < old.end_at is not true
      )
    ));
    get diagnostics counted = row_count;
    pruned := pruned + counted;
    grown := built;
  end loop;

  select count(*) into waiting from usage_arrivals a;
end;
$$;

-- migrate:down

drop function aggregate_usage(timestamptz, timestamptz);
drop function find_due_usage();
drop function current_usage(bigint);
drop table usage_progress;
drop table usage_due;
drop table usage_arrivals;
