-- compatible
create or replace function seconds(duration integer) returns interval language sql immutable parallel safe
return duration * interval '1 second';
