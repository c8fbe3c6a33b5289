-- The tables, views and functions that the corpus asks about.
create table things (
  id bigint primary key,
  name text,
  kind text not null,
  size integer not null,
  label text generated always as (kind || '!') stored,
  tags text[] not null default '{}' check (array_position(tags, null) is null),
  codes text[] not null default '{}',
  info jsonb not null default '{}',
  span int4range not null default 'empty',
  seen timestamptz not null default now(),
  unique (kind, name)
);
create table parts (
  id bigint primary key,
  thing_id bigint,
  code text not null unique,
  note text
);
create table slots (place text not null unique deferrable, thing_id bigint not null);
create table places (id bigint primary key, name text not null no inherit);
create table far_places () inherits (places);
create table late (id bigint primary key, name text);
alter table late add constraint late_name_not_null not null name not valid;
create table halves (name text not null, is_old boolean not null);
create unique index halves_name_idx on halves (name) where not is_old;
create table watched (id bigint primary key, name text not null);
create domain filled as text not null;
create table boxes (id bigint primary key, content filled);
create table logs (id bigint generated always as identity, line text not null);
create sequence numbers;
create view all_things as
select t.id, t.kind, t.name, json_build_array(t.id, t.name) as thing from things t;
create view counted as select t.id, nextval('numbers') as n from things t;
create view named as select t.id, t.kind, t.size, t.name from things t where t.name is not null;

create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger skip before insert on watched for each row execute function skip();

create function things_of(of_kind text, named text default null) returns table (id bigint, name text) language sql stable
begin atomic select t.id, coalesce(t.name, named) from things t where t.kind = of_kind; end;
create function last_thing() returns table (id bigint, name text) language sql stable
begin atomic select t.id, t.name from things t order by t.id desc limit 1; end;
create function whole_things() returns setof things language sql stable
begin atomic select t from things t; end;
create function kind_of(of_id bigint) returns text language sql stable
begin atomic select t.kind from things t where t.id = of_id; end;
create function note_line(line text) returns bigint language plpgsql volatile
as $$ begin insert into logs (line) values (line); return 1; end $$;
create function store_line(line text) returns bigint language sql volatile
begin atomic insert into logs (line) values (line) returning id; end;
create function store_text(line text) returns bigint language sql volatile
as $$ insert into logs (line) values (line) returning id $$;
create function twice(n integer) returns integer language sql immutable return n * 2;
create function guess(n integer) returns integer language plpgsql stable as $$ begin return n; end $$;
