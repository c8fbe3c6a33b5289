-- Second versions (see 1_reads.sql): longer periods, and what is kept.

create or replace function combine_usage(run usage_run, part integer) returns usage_run language plpgsql
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
  ready_ids bigint[];
  ready_begins timestamptz[];
  ready_ends timestamptz[];
  found_ids bigint[];
  found_ends timestamptz[];
  new_ids bigint[];
  new_begins timestamptz[];
  new_ends timestamptz[];
  sum_measurements float8[];
  sum_memory float8[];
  sum_diskspace float8[];
  sum_traffic float8[];
  sum_cputime float8[];
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);
  select
    coalesce(array_agg(d.usage_id order by d.end_at, d.usage_id), '{}'),
    coalesce(array_agg(d.end_at order by d.end_at, d.usage_id), '{}'), count(*)
  into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where
      d.type = longer_type and d.end_at <= run.moment and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    perform forget_removed_usage(due_ids);
    -- Of those that are not settled, all windows must be there.
    select array_agg(d.usage_id), array_agg(d.begin_at), array_agg(d.end_at) into found_ids, new_begins, found_ends
    from (
      select d.usage_id, greatest(run.settled, usage_period_begin(longer_type, d.end_at)) as begin_at, d.end_at
      from unnest(due_ids, due_ends) d (usage_id, end_at)
      where d.end_at > run.settled
    ) d;
    with counted as materialized (
      select r.usage_id, d.end_at, d.begin_at, count(*) as windows
      from unnest(found_ids, new_begins, found_ends) d (usage_id, begin_at, end_at)
      inner join usage_records r on r.usage_id = d.usage_id
      where r.type = '5minutes' and r.end_at > d.begin_at and r.end_at <= d.end_at
      group by r.usage_id, d.end_at, d.begin_at
    )

    select array_agg(c.usage_id), array_agg(c.end_at) into found_ids, found_ends
    from counted c
    where c.windows * interval '5 minutes' = c.end_at - c.begin_at;

    select
      coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(usage_period_begin(longer_type, d.end_at)), '{}'),
      coalesce(array_agg(d.end_at), '{}')
    into ready_ids, ready_begins, ready_ends
    from unnest(due_ids, due_ends) d (usage_id, end_at)
    left join unnest(found_ids, found_ends) f (usage_id, end_at) on f.usage_id = d.usage_id and f.end_at = d.end_at
    where d.end_at <= run.settled or f.usage_id is not null;

    with found as materialized (
      select
        p.usage_id, d.begin_at, d.end_at, sum(p.measurements::float8) as measurements,
        sum(p.traffic order by p.end_at) as traffic, sum(p.cputime order by p.end_at) as cputime,
        coalesce(
          sum(p.memory * p.measurements order by p.end_at) / nullif(sum(p.measurements::float8), 0),
          avg(p.memory order by p.end_at)
        ) as memory,
        coalesce(
          sum(p.diskspace * p.measurements order by p.end_at) / nullif(sum(p.measurements::float8), 0),
          avg(p.diskspace order by p.end_at)
        ) as diskspace
      from unnest(ready_ids, ready_begins, ready_ends) d (usage_id, begin_at, end_at)
      inner join usage_records p on p.usage_id = d.usage_id
      where p.type = of_type and p.end_at > d.begin_at and p.end_at <= d.end_at
      group by p.usage_id, d.begin_at, d.end_at
    )

    select
      array_agg(f.usage_id), array_agg(f.begin_at), array_agg(f.end_at), array_agg(f.measurements), array_agg(f.memory),
      array_agg(f.diskspace), array_agg(f.traffic), array_agg(f.cputime)
    into found_ids, new_begins, found_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime
    from found f;

    with kept as materialized (
      select f.*
      from
        unnest(
          found_ids, new_begins, found_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime
        ) f (usage_id, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      cross join lateral (
        select from usage_statistics u where u.id = f.usage_id for key share skip locked
      ) present
    )

    select
      coalesce(array_agg(k.usage_id), '{}'), array_agg(k.begin_at), coalesce(array_agg(k.end_at), '{}'),
      array_agg(k.measurements), array_agg(k.memory), array_agg(k.diskspace), array_agg(k.traffic), array_agg(k.cputime)
    into new_ids, new_begins, new_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime
    from kept k;

    if new_ids <> '{}' then
      insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      select
        k.usage_id, longer_type, k.begin_at, k.end_at, k.measurements, k.memory, k.diskspace, k.traffic, k.cputime
      from
        unnest(new_ids, new_begins, new_ends, sum_measurements, sum_memory, sum_diskspace, sum_traffic, sum_cputime)
        k (usage_id, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      order by k.usage_id
      on conflict do nothing;

      if next_type is not null then
        insert into usage_due (type, end_at, usage_id)
        select distinct next_type, usage_period_end(next_type, k.end_at), k.usage_id
        from unnest(new_ids, new_ends) k (usage_id, end_at)
        on conflict do nothing;
      end if;
    end if;

    -- Done are those that are built, and those of which nothing is there.
    select array_agg(r.usage_id), array_agg(r.end_at) into ready_ids, ready_ends
    from unnest(ready_ids, ready_ends) r (usage_id, end_at)
    left join unnest(found_ids, found_ends) f (usage_id, end_at) on f.usage_id = r.usage_id and f.end_at = r.end_at
    left join unnest(new_ids, new_ends) k (usage_id, end_at) on k.usage_id = r.usage_id and k.end_at = r.end_at
    where f.usage_id is null or k.usage_id is not null;
    if ready_ids <> '{}' then
      delete from usage_due d
      where
        d.type = longer_type
        and (d.usage_id, d.end_at) in (select r.usage_id, r.end_at from unnest(ready_ids, ready_ends) r (usage_id, end_at));
    end if;
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

create or replace function prune_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  types constant text[] := '{5minutes,hour,day,month,year}';
  n constant integer := (run.step - 4) / 2;
  of_type constant text := types[n];
  longer_type constant text := coalesce(types[n + 1], 'none');  -- nothing is needed for more than a year
  length constant interval := (array['1 hour', '1 day', '1 month', '1 year', '1 year'])[n];
  keep constant integer := ('{12,24,30,12,5}'::integer[])[n];
  month_begin constant timestamptz := usage_period_begin('month', usage_period_end('month', run.moment));
  after constant integer := run.after_id;  -- how many objects of the list are done
  ids constant bigint[] := run.grown[after + 1 : after + part];
  uncounted_ids bigint[];
  uncounted_since timestamptz[];
  counted bigint;
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);
  -- 5-minute records that were settled only now, which count against a quota yet.
  select coalesce(array_agg(q.usage_id), '{}'), coalesce(array_agg(q.since), '{}') into uncounted_ids, uncounted_since
  from (
    select u.usage_id, greatest(q.used_at, run.settled_before, month_begin) as since
    from users u
    inner join quotas q on q.user_id = u.id
    where of_type = '5minutes' and run.settled_before is not null and u.usage_id = any(ids)
  ) q
  where q.since < run.settled;

  -- Who is being removed needs no lock: here its records go with a later run.
  delete from usage_records r
  using (
    select o.usage_id, o.end_at
    from (
      select r.usage_id, r.end_at, row_number() over (partition by r.usage_id order by r.end_at desc) as place
      from usage_records r
      where r.usage_id = any(ids) and r.type = of_type
    ) o
    where o.place > keep and o.end_at <= run.settled
  ) old
  where
    r.usage_id = old.usage_id and r.type = of_type and r.end_at = old.end_at
    and not exists (
      select from usage_due d
      where
        d.usage_id = old.usage_id and d.type = longer_type and d.end_at >= old.end_at
        and (d.end_at::timestamptz at time zone 'UTC' - length) at time zone 'UTC' < old.end_at
    )
    and not exists (
      select from unnest(uncounted_ids, uncounted_since) q (usage_id, since)
      where q.usage_id = old.usage_id and q.since < old.end_at
    );
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
