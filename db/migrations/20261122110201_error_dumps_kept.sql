-- migrate:up

-- What a group of errors does not keep: all but its 5 oldest and 5 newest dumps.
create view surplus_error_dumps as
select r.source, r.dump_id, r.group_id
from (
  select
    d.source, d.dump_id, d.group_id,
    row_number() over (partition by d.group_id order by d.at, d.source, d.dump_id) as place,
    row_number() over (partition by d.group_id order by d.at desc, d.source desc, d.dump_id desc) as place_from_end
  from error_dumps d
) r
where r.place > 5 and r.place_from_end > 5;

-- Trigger: a group drops what it does not keep. Two dumps that are stored at once must meet: the update makes the second
-- wait for the first and then look again, or fail where its snapshot is older (repeatable read).
create function drop_surplus_error_dumps() returns trigger language plpgsql as $$
begin
  update error_groups set removed_dumps = removed_dumps where group_id = new.group_id;
  delete from error_dumps d
  using surplus_error_dumps s
  where s.group_id = new.group_id and d.source = s.source and d.dump_id = s.dump_id;
  return null;
end;
$$;
create trigger error_dumps_kept after insert on error_dumps
for each row execute function drop_surplus_error_dumps();

-- Trigger: a group counts what goes, whether it was dropped or removed by hand.
create function count_removed_dumps() returns trigger language plpgsql as $$
begin
  update error_groups g set removed_dumps = g.removed_dumps + c.gone
  from (select r.group_id, count(*) as gone from removed r group by r.group_id) c
  where g.group_id = c.group_id;
  return null;
end;
$$;
create trigger error_dumps_counted after delete on error_dumps
referencing old table as removed for each statement execute function count_removed_dumps();

-- migrate:down

drop trigger error_dumps_counted on error_dumps;
drop function count_removed_dumps();
drop trigger error_dumps_kept on error_dumps;
drop function drop_surplus_error_dumps();
drop view surplus_error_dumps;
