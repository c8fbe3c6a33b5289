-- breaks
create function keep() returns trigger language plpgsql as $$
begin
  return null;
end;
$$;
create trigger sites_kept before delete on sites for each row execute function keep();
