-- migrate:up
-- compatible: 20261128150900

-- quotas.count_use reads usage records itself, all users' at once. No released code calls these functions.
-- squawk-ignore ban-drop-function
drop function usage_beyond_free(
  bigint, timestamptz, timestamptz, double precision, double precision, double precision, double precision
);
-- squawk-ignore ban-drop-function
drop function newest_usage(bigint, timestamptz, timestamptz);

-- migrate:down

-- The end of an object's newest 5-minute record that ends after a moment and not after another.
create function newest_usage(of_usage_id bigint, since timestamptz, until timestamptz)
returns table (end_at timestamptz) language sql stable rows 1
begin atomic
  select max(r.end_at)
  from usage_records r
  where r.usage_id = of_usage_id and r.type = '5minutes' and r.end_at > since and r.end_at <= until;
end;

-- The sums of what 5-minute records of such an object have beyond what is free in each, and the end of the newest.
create function usage_beyond_free(
  of_usage_id bigint, since timestamptz, until timestamptz, free_memory double precision, free_diskspace double precision,
  free_traffic double precision, free_cputime double precision
)
returns table (
  memory double precision, diskspace double precision, traffic double precision, cputime double precision,
  end_at timestamptz
) language sql stable rows 1
begin atomic
  select
    sum(usage_beyond(r.memory, free_memory)), sum(usage_beyond(r.diskspace, free_diskspace)),
    sum(usage_beyond(r.traffic, free_traffic)), sum(usage_beyond(r.cputime, free_cputime)), max(r.end_at)
  from usage_records r
  where r.usage_id = of_usage_id and r.type = '5minutes' and r.end_at > since and r.end_at <= until;
end;
