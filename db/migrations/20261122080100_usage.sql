-- migrate:up

-- A moment that every client can hold: finite, in the years 1 to 9999, to the microsecond.
create domain instant as timestamptz
constraint instant_is_finite_and_of_years_1_to_9999
check (value >= '0001-01-01 00:00:00+00' and value < '10000-01-01 00:00:00+00');

-- What usage hangs on: everything that is accounted for has a usage_id that points here.
create table usage_statistics (
  id bigint generated always as identity primary key,
  attrs jsonb not null default '{}' constraint usage_statistics_attrs_check check (jsonb_typeof(attrs) = 'object')
);

-- The default of every usage_id: a new thing comes with a usage identity of its own.
create function new_usage_id() returns bigint language sql volatile
begin atomic
  insert into usage_statistics default values returning id;
end;

-- Trigger: the usage identity of what is removed goes with it, and its records too.
create function remove_usage() returns trigger language plpgsql as $$
begin
  delete from usage_statistics u using removed r where u.id = r.usage_id;
  return null;
end;
$$;

-- No surrogate id, so that the table can be distributed by usage_id.
create table usage_records (
  usage_id bigint not null references usage_statistics on delete cascade,
  end_at instant not null,
  begin_at instant not null,
  memory double precision not null default 0,
  diskspace double precision not null default 0,
  traffic double precision not null default 0,
  cputime double precision not null default 0,
  measurements integer not null default 0 constraint usage_records_measurements_check check (measurements >= 0),
  type text not null
  constraint usage_records_type_check check (type in ('5minutes', 'hour', 'day', 'month', 'year')),
  primary key (usage_id, type, end_at),
  constraint usage_records_end_at_check check (end_at >= begin_at)
);

-- migrate:down

drop table usage_records;
drop function remove_usage();
drop function new_usage_id();
drop table usage_statistics;
drop domain instant;
