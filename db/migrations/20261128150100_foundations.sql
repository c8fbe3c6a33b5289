-- migrate:up

-- The parts that every later file builds on, and the two tables of the backend that belong to no other subject.

-- The hash of each migration's file at the time when it was applied, so that “make migrate” can name a file that was edited
-- afterwards. dbmate makes the table before it runs the first migration, and removes the row of one that it undoes.
alter table schema_migrations add column sha256 text;

-- A moment that every client can hold: finite, in the years 1 to 9999, to the microsecond.
create domain instant as timestamptz
constraint instant_is_finite_and_of_years_1_to_9999
check (value >= '0001-01-01 00:00:00+00' and value < '10000-01-01 00:00:00+00');

-- Usage identities: everything that is accounted for has a usage_id that refers to one, and so have its usage records.
create table usage_statistics (
  id bigint generated always as identity primary key,
  attrs jsonb not null default '{}' constraint usage_statistics_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- The default of every usage_id, so that a new row comes with a usage identity of its own in the same statement.
create function new_usage_id() returns bigint language sql volatile
begin atomic
  insert into usage_statistics default values returning id;
end;

-- Bodies of text resolve names when they run, so those that are not merged into a query keep the path of migrations: the schema,
-- then temporary objects. Bodies that begin with “begin atomic” or “return” have resolved theirs.

-- A trigger function: it removes the usage identities of deleted rows, which no foreign key can do, since the reference
-- points the other way. Their usage records go with them.
create function remove_usage() returns trigger language plpgsql
set search_path from current
as $$
begin
  delete from usage_statistics u using removed r where u.id = r.usage_id;
  return null;
end;
$$;

-- Work that is done periodically as a whole, by one worker at a time: when it was started last, and until when a worker has
-- claimed it.
create table tasks (
  name text primary key,
  started_at instant not null,
  run_lease_until instant
);

-- Values that the backend stores under names of its own.
create table key_values (
  id bigint generated always as identity primary key,
  key text not null unique,
  value jsonb not null,
  attrs jsonb not null default '{}' constraint key_values_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- migrate:down

drop table key_values;
drop table tasks;
drop function remove_usage();
drop function new_usage_id();
drop table usage_statistics;
drop domain instant;
alter table schema_migrations drop column sha256;
