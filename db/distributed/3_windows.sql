-- Second versions (see 1_reads.sql): 5-minute windows.

create or replace function roll_up_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
  above_ids bigint[];
  above_ends timestamptz[];
  source_ids bigint[];
  window_ids bigint[];
  window_ends timestamptz[];
  found bigint[];
  new_ids bigint[];
  new_ends timestamptz[];
  sum_measurements float8[];
  sum_memory float8[];
  sum_diskspace float8[];
  sum_traffic float8[];
  sum_cputime float8[];
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);
  select coalesce(array_agg(d.usage_id order by d.end_at, d.usage_id), '{}'),
    coalesce(array_agg(d.end_at order by d.end_at, d.usage_id), '{}'), count(*)
  into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where d.type = '5minutes' and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    select coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(d.end_at), '{}'), coalesce(array_agg(s.source_id), '{}')
    into above_ids, above_ends, source_ids
    from unnest(due_ids, due_ends) d (usage_id, end_at)
    inner join usage_sources s on s.usage_id = d.usage_id
    where s.level = run.step and s.source_id is not null;
    select array_agg(w.source_id), array_agg(w.end_at) into window_ids, window_ends
    from (select distinct w.source_id, w.end_at from unnest(source_ids, above_ends) w (source_id, end_at)) w;

    with found as materialized (
      select
        r.usage_id as source_id, w.end_at, count(*) as found, sum(r.measurements::float8) as measurements,
        sum(r.traffic) as traffic, sum(r.cputime) as cputime,
        sum(r.memory * date_part('epoch', r.end_at - r.begin_at) / 300) as memory,
        sum(r.diskspace * date_part('epoch', r.end_at - r.begin_at) / 300) as diskspace
      from unnest(window_ids, window_ends) w (source_id, end_at)
      inner join usage_records r on r.usage_id = w.source_id
      where
        r.type = '5minutes' and r.end_at > w.end_at - interval '5 minutes' and r.end_at <= w.end_at
        and not exists (select from usage_arrivals a where a.usage_id = r.usage_id and a.end_at = r.end_at)
      group by r.usage_id, w.end_at
    )

    select
      array_agg(f.source_id), array_agg(f.end_at), array_agg(f.found), array_agg(f.measurements), array_agg(f.memory),
      array_agg(f.diskspace), array_agg(f.traffic), array_agg(f.cputime)
    into
      window_ids, window_ends, found, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime
    from found f;

    with ready as (
      select
        s.usage_id, s.end_at, sum(f.measurements) as measurements, sum(f.memory) as memory,
        sum(f.diskspace) as diskspace, sum(f.traffic) as traffic, sum(f.cputime) as cputime
      from unnest(above_ids, above_ends, source_ids) s (usage_id, end_at, source_id)
      left join
        unnest(window_ids, window_ends, found, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime)
        f (source_id, end_at, found, measurements, memory, diskspace, traffic, cputime)
        on f.source_id = s.source_id and f.end_at = s.end_at
      group by s.usage_id, s.end_at
      having sum(f.found) > 0 and (s.end_at <= run.settled or min(coalesce(f.found, 0)) > 0)
    ),

    kept as materialized (
      select r.*
      from ready r
      cross join lateral (
        select from usage_statistics u where u.id = r.usage_id for key share skip locked
      ) present
    )

    select
      coalesce(array_agg(k.usage_id), '{}'), coalesce(array_agg(k.end_at), '{}'), array_agg(k.measurements),
      array_agg(k.memory), array_agg(k.diskspace), array_agg(k.traffic), array_agg(k.cputime)
    into new_ids, new_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime
    from kept k;

    if new_ids <> '{}' then
      insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      select
        k.usage_id, '5minutes', k.end_at - interval '5 minutes', k.end_at, k.measurements, k.memory, k.diskspace,
        k.traffic, k.cputime
      from
        unnest(new_ids, new_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime)
        k (usage_id, end_at, measurements, memory, diskspace, traffic, cputime)
      order by k.usage_id
      on conflict do nothing;

      delete from usage_due d
      where
        d.type = '5minutes'
        and (d.usage_id, d.end_at) in (select k.usage_id, k.end_at from unnest(new_ids, new_ends) k (usage_id, end_at));

      insert into usage_due (type, end_at, usage_id)
      select distinct 'hour', usage_period_end('hour', k.end_at), k.usage_id
      from unnest(new_ids, new_ends) k (usage_id, end_at)
      on conflict do nothing;
    end if;
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

create or replace function reopen_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  up_to bigint;
  found bigint[];
begin
  if run.settled > run.settled_before + interval '5 minutes' then
    select max(u.id) into up_to
    from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  end if;
  if up_to is not null then
    found := array(
      select distinct r.usage_id
      from usage_records r
      where
        r.usage_id > run.after_id and r.usage_id <= up_to and r.end_at > run.settled_before and r.end_at <= run.settled
    );
    run.reopened := run.reopened || array(select u.id from usage_statistics u where u.id = any(found));
    run.after_id := up_to;
    return run;
  end if;
  run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  return usage_step(run, 6);
end;
$$;
