-- migrate:up
-- compatible: 20261128150900

-- A window's sources are added up in the order of their ids, as on a cluster, so that the same records give the same sums to
-- the last bit. They come sorted by window as well, so that grouping them needs no second sort.
do $$
begin
  execute replace(
    pg_get_functiondef('roll_up_windows'::regproc), 'order by l.source_id', 'order by w.usage_id, w.end_at, l.source_id'
  );
end;
$$;

-- migrate:down

do $$
begin
  execute replace(
    pg_get_functiondef('roll_up_windows'::regproc), 'order by w.usage_id, w.end_at, l.source_id', 'order by l.source_id'
  );
end;
$$;
