-- Components without a usage identity get one, so that their use is accounted for. It has no pk, since it is no record of the
-- file.

do $$
declare
  staged name;
begin
  foreach staged in array
    array['staged_elements', 'staged_connections', 'staged_host_elements', 'staged_host_connections']
  loop
    execute format(
      $sql$
        with without as (
          select
            s.ctid as place,
            (select coalesce(max(u.id), 0) from staged_usage_statistics u) + row_number() over (order by s.id) as usage_id
          from %1$I s
          where s.usage_id is null
        ),
        made as (
          insert into staged_usage_statistics (id) select w.usage_id from without w
        )
        update %1$I s set usage_id = w.usage_id
        from without w
        where s.ctid = w.place
      $sql$,
      staged
    );
  end loop;
end;
$$;
