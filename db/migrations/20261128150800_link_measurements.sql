-- migrate:up

-- Measurements between two sites, stored once for each pair: under the lower id first.
create table link_measurements (
  site_a_id bigint not null references sites on delete cascade,
  site_b_id bigint not null references sites on delete cascade,
  end_at instant not null,
  begin_at instant not null,
  loss double precision not null constraint link_measurements_loss_check check (loss between 0 and 1),
  delay_avg double precision not null,
  delay_stddev double precision not null,
  measurements integer not null constraint link_measurements_measurements_check check (measurements >= 0),
  type text not null
  constraint link_measurements_type_check check (type in ('single', '5minutes', 'hour', 'day', 'month', 'year')),
  primary key (site_a_id, site_b_id, type, end_at),
  constraint link_measurements_site_a_id_check check (site_a_id <= site_b_id),
  constraint link_measurements_end_at_check check (end_at >= begin_at)
);
create index link_measurements_site_b_id_idx on link_measurements (site_b_id);

-- Do all combining of link measurements that is due at this moment; see Links.combine in
-- tomato_dao/dao/links.py. The number of stored rows is bounded, a hundred for a pair of sites, so it reads them all, without
-- nested loops, which would be chosen from stale statistics.
create function combine_links(moment timestamptz, out ran boolean, out written bigint, out pruned bigint)
language plpgsql
set enable_nestloop = off
set jit = off
set plan_cache_mode = force_custom_plan
set search_path from current
as $$
declare
  step record;
  counted bigint;
begin
  written := 0;
  pruned := 0;
  ran := pg_try_advisory_xact_lock(465625312115);  -- "links"
  if not ran then
    return;
  end if;

  for step in
    select s.*
    from (
      values
      ('single', 10, '5minutes'), ('5minutes', 12, 'hour'), ('hour', 24, 'day'), ('day', 30, 'month'),
      ('month', 12, 'year'), ('year', 5, null)
    ) s (type, kept, longer)
  loop
    -- A period is combined once, 15 minutes after its end. A site that is being removed is left alone.
    with newest as (
      select m.site_a_id, m.site_b_id, max(m.end_at) as end_at
      from link_measurements m
      where m.type = step.longer
      group by m.site_a_id, m.site_b_id
    ),

    combined as (
      select
        m.site_a_id, m.site_b_id, usage_period_end(step.longer, m.end_at) as end_at,
        sum(m.measurements) as measurements,
        coalesce(sum(m.loss * m.measurements) / nullif(sum(m.measurements), 0)::float8, avg(m.loss)) as loss,
        coalesce(
          sum(m.delay_avg * w.weight) / nullif(sum(w.weight), 0), avg(m.delay_avg)
        ) as delay_avg,
        coalesce(
          sum(m.delay_stddev * w.weight) / nullif(sum(w.weight), 0), avg(m.delay_stddev)
        ) as delay_stddev
      from link_measurements m
      left join newest n on n.site_a_id = m.site_a_id and n.site_b_id = m.site_b_id
      cross join lateral (values (m.measurements * (1 - m.loss))) w (weight)
      where m.type = step.type and m.end_at > coalesce(n.end_at, '-infinity')
      group by m.site_a_id, m.site_b_id, usage_period_end(step.longer, m.end_at)
      having usage_period_end(step.longer, m.end_at) <= moment - interval '15 minutes'
    )

    insert into link_measurements (
      site_a_id, site_b_id, type, begin_at, end_at, measurements, loss, delay_avg, delay_stddev
    )
    select
      c.site_a_id, c.site_b_id, step.longer, usage_period_begin(step.longer, c.end_at), c.end_at, c.measurements,
      least(c.loss, 1), c.delay_avg, c.delay_stddev
    from combined c
    cross join lateral (
      select from sites a where a.id = c.site_a_id for key share skip locked
    ) site_a
    cross join lateral (
      select from sites b where b.id = c.site_b_id for key share skip locked
    ) site_b
    where step.longer is not null
    on conflict do nothing;
    get diagnostics counted = row_count;
    written := written + counted;

    -- Beyond the newest of each pair all go whose longer record is there. Measurements of a site that is being removed are
    -- passed over: waiting for them could deadlock with the removal.
    delete from link_measurements m
    where m.ctid = any(array(
      select held.ctid
      from (
        select
          r.ctid, r.site_a_id, r.site_b_id, r.end_at,
          row_number() over (partition by r.site_a_id, r.site_b_id order by r.end_at desc) as place
        from link_measurements r
        where r.type = step.type
      ) old
      left join (
        select n.site_a_id, n.site_b_id, max(n.end_at) as end_at
        from link_measurements n
        where n.type = step.longer
        group by n.site_a_id, n.site_b_id
      ) l on l.site_a_id = old.site_a_id and l.site_b_id = old.site_b_id
      cross join lateral (
        select r.ctid from link_measurements r where r.ctid = old.ctid for update skip locked
      ) held
      where old.place > step.kept and (step.longer is null or old.end_at <= l.end_at)
    ));
    get diagnostics counted = row_count;
    pruned := pruned + counted;
  end loop;
end;
$$;

-- migrate:down

drop function combine_links(timestamptz);
drop table link_measurements;
