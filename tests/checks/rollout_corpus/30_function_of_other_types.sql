-- breaks
drop function usage_total(bigint, timestamptz, timestamptz) cascade;
create function usage_total(of_usage_id integer) returns integer language sql immutable return of_usage_id;
