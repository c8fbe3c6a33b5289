-- migrate:up

-- Errors with the same cause, with the number of dumps that are not kept any more.
create table error_groups (
  group_id text primary key,
  description text not null default '',
  removed_dumps bigint not null default 0 constraint error_groups_removed_dumps_check check (removed_dumps >= 0)
);

-- data is base64 of a zlib stream, stored as it arrived.
create table error_dumps (
  source text not null,
  dump_id text not null,
  group_id text not null references error_groups,
  at instant not null,
  description jsonb not null default '{}',
  origin text not null default '',
  software_version jsonb not null default '{}',
  data text,
  data_available boolean not null default false,
  attrs jsonb not null default '{}' constraint error_dumps_attrs_check check (jsonb_typeof(attrs) = 'object'),
  primary key (source, dump_id)
);
create index error_dumps_group_id_idx on error_dumps (group_id, at);

-- The dumps that a group does not keep: all but its 5 oldest and 5 newest.
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

-- A trigger function: it removes the dumps that a group does not keep. Two dumps that are stored at the same time must meet:
-- the update makes the second wait for the first and then look again, or fail if its snapshot is older (repeatable read).
create function drop_surplus_error_dumps() returns trigger language plpgsql
set search_path from current
as $$
begin
  update error_groups set removed_dumps = removed_dumps where group_id = new.group_id;
  delete from error_dumps d
  using surplus_error_dumps s
  where s.group_id = new.group_id and d.source = s.source and d.dump_id = s.dump_id;
  return null;
end;
$$;

-- A group stays small, however often its error happens.
create trigger error_dumps_kept
after insert on error_dumps
for each row
execute function drop_surplus_error_dumps();

-- A trigger function: it adds deleted dumps to their groups' counts.
create function count_removed_dumps() returns trigger language plpgsql
set search_path from current
as $$
begin
  update error_groups g set removed_dumps = g.removed_dumps + c.gone
  from (select r.group_id, count(*) as gone from removed r group by r.group_id) c
  where g.group_id = c.group_id;
  return null;
end;
$$;

-- A group counts removed dumps, whether it dropped them itself or somebody removed them.
create trigger error_dumps_counted
after delete on error_dumps
referencing old table as removed
for each statement
execute function count_removed_dumps();

-- Groups of errors with a summary of their dumps, which several queries share.
create view error_group_summaries as
select
  g.group_id, g.description, g.removed_dumps, g.removed_dumps + d.kept as count, d.last_at, d.sources, d.origins, d.versions,
  d.descriptions, d.data_available
from error_groups g
cross join
  lateral (
    select
      count(*) as kept,
      max(d.at) as last_at,
      coalesce(array_agg(distinct d.source), '{}') as sources,
      coalesce(array_agg(distinct d.origin), '{}') as origins,
      coalesce(jsonb_agg(distinct d.software_version), '[]') as versions,
      coalesce(jsonb_agg(distinct d.description), '[]') as descriptions,
      coalesce(bool_or(d.data_available), false) as data_available
    from error_dumps d
    where d.group_id = g.group_id
  ) d;

-- Workers read it: code of this schema version and later goes on working on this schema. A later migration that still supports
-- it leaves it as it is.
comment on table schema_migrations is 'oldest supported schema version: 20261128150900';

-- migrate:down

comment on table schema_migrations is null;
drop view error_group_summaries;
drop view surplus_error_dumps;
drop table error_dumps;
drop function count_removed_dumps();
drop function drop_surplus_error_dumps();
drop table error_groups;
