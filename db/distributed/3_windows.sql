-- Second versions (see 1_reads.sql): 5-minute windows.

create or replace function roll_up_windows(run usage_run, depth integer, kind text, ids bigint[], ends timestamptz[])
returns usage_run language plpgsql
set search_path from current
as $$
declare
  above_ids bigint[];
  above_ends timestamptz[];
  places bigint[];
  open_ids bigint[] := ids;
  open_ends timestamptz[] := ends;
  there_ids bigint[];
  there_ends timestamptz[];
  source_ids bigint[];
  window_ids bigint[];
  window_ends timestamptz[];
  first_end timestamptz;
  last_end timestamptz;
  waiting bigint;
  found bigint[];
  new_ids bigint[] := '{}';
  new_ends timestamptz[] := '{}';
  sum_measurements float8[];
  sum_memory float8[];
  sum_diskspace float8[];
  sum_traffic float8[];
  sum_cputime float8[];
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);
  if kind <> 'due' then
    select coalesce(array_agg(s.usage_id), '{}'), coalesce(array_agg(n.end_at), '{}'), coalesce(array_agg(n.place), '{}')
    into above_ids, above_ends, places
    from (
      select u.usage_id, usage_period_end('5minutes', u.end_at) as end_at, u.place
      from unnest(ids, ends) with ordinality u (usage_id, end_at, place)
    ) n
    inner join usage_sources s on s.source_id = n.usage_id
    where s.level = depth and s.usage_id is not null;

    select coalesce(array_agg(a.usage_id), '{}'), coalesce(array_agg(a.end_at), '{}'), min(a.end_at), max(a.end_at)
    into open_ids, open_ends, first_end, last_end
    from (
      select distinct a.usage_id, a.end_at
      from unnest(above_ids, above_ends) a (usage_id, end_at)
      where (a.end_at <= run.settled_before) is not true
    ) a;

    select coalesce(array_agg(t.usage_id), '{}'), coalesce(array_agg(t.end_at), '{}') into there_ids, there_ends
    from (
      select r.usage_id, r.end_at
      from unnest(open_ids, open_ends) o (usage_id, end_at)
      inner join usage_records r on r.usage_id = o.usage_id and r.end_at = o.end_at
      where
        r.usage_id = any(open_ids) and r.type = '5minutes' and r.end_at >= first_end and r.end_at <= last_end
    ) t;

    run.late := run.late + (
      select count(distinct a.place)
      from unnest(above_ids, above_ends, places) a (usage_id, end_at, place)
      left join unnest(there_ids, there_ends) t (usage_id, end_at) on t.usage_id = a.usage_id and t.end_at = a.end_at
      where a.end_at <= run.settled_before or t.usage_id is not null
    );
    if there_ids <> '{}' then
      select coalesce(array_agg(o.usage_id), '{}'), coalesce(array_agg(o.end_at), '{}') into open_ids, open_ends
      from unnest(open_ids, open_ends) o (usage_id, end_at)
      left join unnest(there_ids, there_ends) t (usage_id, end_at) on t.usage_id = o.usage_id and t.end_at = o.end_at
      where t.usage_id is null;
    end if;
  end if;

  if kind <> 'deferred' and open_ids <> '{}' then
    select coalesce(array_agg(w.usage_id), '{}'), coalesce(array_agg(w.end_at), '{}'), coalesce(array_agg(s.source_id), '{}')
    into above_ids, above_ends, source_ids
    from unnest(open_ids, open_ends) w (usage_id, end_at)
    inner join usage_sources s on s.usage_id = w.usage_id
    where s.level = depth and s.source_id is not null;
    select array_agg(w.source_id), array_agg(w.end_at), min(w.end_at), max(w.end_at)
    into window_ids, window_ends, first_end, last_end
    from (select distinct w.source_id, w.end_at from unnest(source_ids, above_ends) w (source_id, end_at)) w;

    with found as materialized (
      select
        r.usage_id as source_id, w.end_at, count(*) as found, sum(r.measurements::float8) as measurements,
        sum(r.traffic order by r.end_at) as traffic, sum(r.cputime order by r.end_at) as cputime,
        sum(r.memory * date_part('epoch', r.end_at - r.begin_at) / 300 order by r.end_at) as memory,
        sum(r.diskspace * date_part('epoch', r.end_at - r.begin_at) / 300 order by r.end_at) as diskspace
      from unnest(window_ids, window_ends) w (source_id, end_at)
      inner join usage_records r on r.usage_id = w.source_id
      where
        r.usage_id = any(window_ids) and r.type = '5minutes'
        and r.end_at > first_end - interval '5 minutes' and r.end_at <= last_end
        and r.end_at > w.end_at - interval '5 minutes' and r.end_at <= w.end_at
        and (select a.end_at from usage_arrivals a where a.usage_id = r.usage_id and a.end_at = r.end_at) is null
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
        s.usage_id, s.end_at, sum(f.measurements) as measurements, sum(f.memory order by s.source_id) as memory,
        sum(f.diskspace order by s.source_id) as diskspace, sum(f.traffic order by s.source_id) as traffic,
        sum(f.cputime order by s.source_id) as cputime
      from unnest(above_ids, above_ends, source_ids) s (usage_id, end_at, source_id)
      left join
        unnest(window_ids, window_ends, found, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime)
        f (source_id, end_at, found, measurements, memory, diskspace, traffic, cputime)
        on f.source_id = s.source_id and f.end_at = s.end_at
      group by s.usage_id, s.end_at
      having min(coalesce(f.found, 0)) > 0 or (kind = 'due' and s.end_at <= run.settled and sum(f.found) > 0)
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

      -- New records may have completed a window that was due; mostly there is none, which costs less to see than to delete.
      select count(*) into waiting
      from usage_due d
      where d.type = '5minutes' and d.end_at >= first_end and d.end_at <= last_end;
      if waiting > 0 then
        delete from usage_due d
        where
          d.type = '5minutes'
          and (d.usage_id, d.end_at) in (select k.usage_id, k.end_at from unnest(new_ids, new_ends) k (usage_id, end_at));
      end if;

      insert into usage_due (type, end_at, usage_id)
      select distinct 'hour', usage_period_end('hour', k.end_at), k.usage_id
      from unnest(new_ids, new_ends) k (usage_id, end_at)
      on conflict do nothing;
    end if;
  end if;

  if kind <> 'due' then
    select coalesce(array_agg(w.usage_id), '{}'), coalesce(array_agg(w.end_at), '{}') into open_ids, open_ends
    from unnest(open_ids, open_ends) w (usage_id, end_at)
    left join unnest(new_ids, new_ends) k (usage_id, end_at) on k.usage_id = w.usage_id and k.end_at = w.end_at
    where k.usage_id is null;
    if open_ids <> '{}' then
      insert into usage_due (type, end_at, usage_id)
      select '5minutes', w.end_at, w.usage_id
      from unnest(open_ids, open_ends) w (usage_id, end_at)
      on conflict do nothing;
    end if;
  end if;
  run.written := run.written + cardinality(new_ids);
  run.grown := run.grown || new_ids;
  if new_ids <> '{}' and depth < 4 then
    run := roll_up_windows(run, depth + 1, 'new', new_ids, new_ends);
  end if;
  return run;
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
