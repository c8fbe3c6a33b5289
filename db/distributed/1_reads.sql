-- Second versions of the functions that read or write usage records, for a database where usage_records, usage_due and
-- usage_arrivals are distributed by usage_id. “tomato-dao distribute” installs them, “undistribute” brings back the first
-- ones, from schema.sql. Both give the same results (tests/ops/test_distributed.py). A change of one is a change of both.
--
-- What was a join of local and distributed tables is done in turns: local rows become arrays, which each worker gets, and rows
-- of a worker come back as arrays. All are PL/pgSQL, which is never merged into a query: Citus would not see the distributed
-- table there, and the query would read the empty table that is left on the coordinator. Writers of the same shards need not
-- wait for each other (citus.all_modifications_commutative): no two of them write the same row.

drop function if exists usage_total(bigint, timestamptz, timestamptz);
drop function if exists largest_usage_records(bigint, timestamptz, timestamptz);
drop function if exists current_usage(bigint);

-- “setof usage_records” would make the table depend on itself.
create function current_usage(of_usage_id bigint)
returns table (
  usage_id bigint, end_at instant, begin_at instant, memory double precision, diskspace double precision,
  traffic double precision, cputime double precision, measurements bigint, type text
) language plpgsql stable rows 1
set search_path from current
as $$
#variable_conflict use_column
declare
  since constant timestamptz := coalesce((select p.settled_at from usage_progress p), '-infinity') - interval '5 minutes';
begin
  return query
  select r.usage_id, r.end_at, r.begin_at, r.memory, r.diskspace, r.traffic, r.cputime, r.measurements, r.type
  from usage_records r
  where r.usage_id = of_usage_id and r.type = '5minutes' and r.end_at > since
  order by r.end_at desc
  limit 1;
end;
$$;

create function usage_total(of_usage_id bigint, since timestamptz, until timestamptz)
returns table (
  begin_at timestamptz, end_at timestamptz, measurements bigint, memory double precision, diskspace double precision,
  traffic double precision, cputime double precision
) language plpgsql stable rows 1
set search_path from current
as $$
#variable_conflict use_column
begin
  return query
  select
    min(r.begin_at)::timestamptz, max(r.end_at)::timestamptz, sum(r.measurements)::bigint,
    coalesce(sum(r.memory * r.measurements) / nullif(sum(r.measurements), 0)::float8, avg(r.memory)),
    coalesce(sum(r.diskspace * r.measurements) / nullif(sum(r.measurements), 0)::float8, avg(r.diskspace)),
    sum(r.traffic), sum(r.cputime)
  from usage_records r
  where
    r.usage_id = of_usage_id and r.begin_at >= since and r.end_at <= until
    and not exists (
      select from usage_records l
      where
        l.usage_id = of_usage_id and l.begin_at >= since and l.end_at <= until
        and l.end_at > r.begin_at and l.begin_at < r.end_at
        and array_position('{5minutes,hour,day,month,year}', l.type)
        > array_position('{5minutes,hour,day,month,year}', r.type)
    )
  group by r.usage_id;
end;
$$;
