-- What stands in for the foreign key of usage_records, which can't lead from distributed rows to the coordinator's: who is
-- removed is noted, and the next run of the accounting removes the records. So a removal waits for no worker, and works while
-- one is down. “tomato-dao distribute” makes it, “undistribute” removes it.

create table if not exists usage_removed (
  usage_id bigint primary key
);

create or replace function note_removed_usage() returns trigger language plpgsql
set search_path from current
as $$
begin
  insert into usage_removed (usage_id)
  select r.id
  from removed r
  on conflict do nothing;
  return null;
end;
$$;

create or replace trigger usage_statistics_note_removed after delete on usage_statistics
referencing old table as removed
for each statement execute function note_removed_usage();
