-- compatible
-- after Zulip: a trigger keeps a column for searching
alter table organizations add column search tsvector;
create function fill_search() returns trigger language plpgsql as $$
begin
  new.search := to_tsvector('simple', new.name);
  return new;
end;
$$;
create trigger organizations_search before insert or update on organizations for each row execute function fill_search();
