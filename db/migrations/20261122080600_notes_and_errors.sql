-- migrate:up

create table link_measurements (
  site_a_id bigint not null references sites on delete cascade,
  site_b_id bigint not null references sites on delete cascade,
  end_at instant not null,
  begin_at instant not null,
  loss double precision not null constraint link_measurements_loss_check check (loss between 0 and 1),
  delay_avg double precision not null,
  delay_stddev double precision not null,
  measurements integer not null constraint link_measurements_measurements_check check (measurements >= 0),
  type text not null
  constraint link_measurements_type_check check (type in ('single', '5minutes', 'hour', 'day', 'month', 'year')),
  primary key (site_a_id, site_b_id, type, end_at),
  constraint link_measurements_site_a_id_check check (site_a_id <= site_b_id),
  constraint link_measurements_end_at_check check (end_at >= begin_at)
);
create index link_measurements_site_b_id_idx on link_measurements (site_b_id);

create table key_values (
  id bigint generated always as identity primary key,
  key text not null unique,
  value jsonb not null,
  attrs jsonb not null default '{}' constraint key_values_attrs_check check (jsonb_typeof(attrs) = 'object')
);

create table error_groups (
  group_id text primary key,
  description text not null default '',
  removed_dumps bigint not null default 0 constraint error_groups_removed_dumps_check check (removed_dumps >= 0)
);

-- data is base64 of a zlib stream, kept as it came.
create table error_dumps (
  source text not null,
  dump_id text not null,
  group_id text not null references error_groups on delete cascade,
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

-- migrate:down

drop table error_dumps;
drop table error_groups;
drop table key_values;
drop table link_measurements;
