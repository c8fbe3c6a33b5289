-- Second versions (see 1_reads.sql): the books of the rollup, and what is removed.

-- Remove the records of who was removed. A removal waits for whoever has just written records of the object, by the lock on its
-- identity; but that is released before the workers have committed, so that records may come after the note was taken up. They
-- stand in the books, as all that is new does: those of the given objects that are gone lose their records, too.
create or replace function forget_removed_usage(ids bigint[]) returns void language plpgsql
set search_path from current
as $$
declare
  gone bigint[];
begin
  with noted as (
    delete from usage_removed n
    returning n.usage_id
  )

  select coalesce(array_agg(n.usage_id), '{}') into gone
  from noted n;
  gone := array(
    select distinct g.id
    from unnest(gone || ids) g (id)
    left join usage_statistics u on u.id = g.id
    where u.id is null
  );
  if gone <> '{}' then
    delete from usage_records r where r.usage_id = any(gone);
  end if;
end;
$$;

create or replace function find_due_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  depth constant integer := run.step + 6;
  up_to bigint;
  above_ids bigint[];
  source_ids bigint[];
  newest timestamptz[];
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);  -- or importers wait for the run, and it for them
  select max(u.id) into up_to
  from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  if up_to is null then
    return usage_step(run, run.step + 1);
  end if;
  if run.step < -1 then
    select coalesce(array_agg(s.usage_id), '{}'), coalesce(array_agg(s.source_id), '{}') into above_ids, source_ids
    from usage_sources s
    where s.level = depth and s.usage_id > run.after_id and s.usage_id <= up_to and s.source_id is not null;

    newest := array(
      select coalesce(n.end_at, '-infinity')
      from unnest(above_ids) with ordinality a (usage_id, place)
      left join (
        select r.usage_id, max(r.end_at) as end_at
        from usage_records r
        where r.usage_id = any(above_ids) and r.type = '5minutes'
        group by r.usage_id
      ) n on n.usage_id = a.usage_id
      order by a.place
    );

    with windows as materialized (
      select r.end_at, s.usage_id
      from unnest(above_ids, source_ids, newest) s (usage_id, source_id, newest)
      inner join usage_records r on r.usage_id = s.source_id
      where r.type = '5minutes' and r.end_at > s.newest
    ),

    due as materialized (
      select d.end_at, s.usage_id
      from unnest(above_ids, source_ids, newest) s (usage_id, source_id, newest)
      inner join usage_due d on d.usage_id = s.source_id
      where d.type = '5minutes' and d.end_at > s.newest
    )

    insert into usage_due (type, end_at, usage_id)
    select '5minutes', usage_period_end('5minutes', w.end_at), w.usage_id
    from windows w
    union
    select '5minutes', d.end_at, d.usage_id
    from due d
    on conflict do nothing;
  else
    above_ids := array(
      select u.id
      from usage_statistics u
      where
        u.id > run.after_id and u.id <= up_to
        and not exists (select from host_elements he where he.usage_id = u.id)
        and not exists (select from host_connections hc where hc.usage_id = u.id)
    );
    with newest as materialized (
      select l.usage_id, l.type, max(l.end_at) as end_at
      from usage_records l
      where l.usage_id = any(above_ids)
      group by l.usage_id, l.type
    ),

    unbuilt as materialized (
      select p.longer, r.end_at, r.usage_id
      from (values ('5minutes', 'hour'), ('hour', 'day'), ('day', 'month'), ('month', 'year')) p (type, longer)
      inner join usage_records r on r.type = p.type
      where
        r.usage_id = any(above_ids)
        and not exists (
          select from newest l where l.usage_id = r.usage_id and l.type = p.longer and l.end_at >= r.end_at
        )
    )

    insert into usage_due (type, end_at, usage_id)
    select distinct w.longer, usage_period_end(w.longer, w.end_at), w.usage_id
    from unbuilt w
    on conflict do nothing;
  end if;
  run.after_id := up_to;
  return run;
end;
$$;

-- Of earlier versions.
drop function if exists open_usage(usage_run, integer, bigint[], timestamptz[]);

create or replace function take_usage(run usage_run, part integer) returns usage_run language plpgsql
set search_path from current
as $$
declare
  last_end timestamptz;
  last_id bigint;
  new_ids bigint[];
  new_ends timestamptz[];
begin
  perform set_config('citus.all_modifications_commutative', 'on', true);
  -- What is deleted is what is taken up, so that none that comes in between is lost.
  select b.end_at, b.usage_id into last_end, last_id
  from usage_arrivals b
  order by b.end_at, b.usage_id
  offset part - 1
  limit 1;
  last_end := coalesce(last_end, 'infinity');
  last_id := coalesce(last_id, 0);
  with taken as (
    delete from usage_arrivals a
    where (a.end_at, a.usage_id) <= (last_end, last_id)
    returning a.usage_id, a.end_at
  )

  select coalesce(array_agg(t.usage_id), '{}'), coalesce(array_agg(t.end_at), '{}') into new_ids, new_ends
  from taken t;
  run.grown := run.grown || new_ids;
  if cardinality(run.grown) > 1000000 then
    run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  end if;
  perform forget_removed_usage(new_ids);
  if new_ids <> '{}' then
    run := roll_up_windows(
      run, 1, case when cardinality(new_ids) >= part then 'deferred' else 'new' end, new_ids, new_ends
    );
  end if;
  if cardinality(new_ids) >= part then
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
