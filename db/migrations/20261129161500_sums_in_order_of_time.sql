-- migrate:up
-- compatible: 20261128150900

-- An object's records of one window or longer period are added up in the order of their times, whatever the plan: the same
-- sums to the last bit on all servers. The primary key gives them in this order, so that nothing is sorted.
do $$
begin
  execute replace(replace(
    pg_get_functiondef('roll_up_windows'::regproc),
    'from usage_records r
      where
        r.usage_id = w.source_id and r.type = ''5minutes''
        and r.end_at > w.end_at - interval ''5 minutes'' and r.end_at <= w.end_at',
    'from (
        select r.*
        from usage_records r
        where
          r.usage_id = w.source_id and r.type = ''5minutes''
          and r.end_at > w.end_at - interval ''5 minutes'' and r.end_at <= w.end_at
        order by r.end_at
      ) r
      where'),
    'where
        and (
          all_taken
          or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null
        )',
    'where
        all_taken
        or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null'
  );
  execute replace(
    pg_get_functiondef('combine_usage'::regproc),
    'from usage_records p
        where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
      ) f',
    'from (
          select p.*
          from usage_records p
          where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
          order by p.end_at
        ) p
      ) f'
  );
end;
$$;

-- migrate:down

do $$
begin
  execute replace(
    pg_get_functiondef('roll_up_windows'::regproc),
    'from (
        select r.*
        from usage_records r
        where
          r.usage_id = w.source_id and r.type = ''5minutes''
          and r.end_at > w.end_at - interval ''5 minutes'' and r.end_at <= w.end_at
        order by r.end_at
      ) r
      where
        all_taken
        or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null',
    'from usage_records r
      where
        r.usage_id = w.source_id and r.type = ''5minutes''
        and r.end_at > w.end_at - interval ''5 minutes'' and r.end_at <= w.end_at
        and (
          all_taken
          or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null
        )'
  );
  execute replace(
    pg_get_functiondef('combine_usage'::regproc),
    'from (
          select p.*
          from usage_records p
          where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
          order by p.end_at
        ) p
      ) f',
    'from usage_records p
        where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
      ) f'
  );
end;
$$;
