-- breaks
create function refuse_shouting() returns trigger language plpgsql as $$
begin
  if new.name = upper(new.name) then
    raise exception 'no shouting';
  end if;
  return new;
end;
$$;
create trigger topologies_quiet before insert or update on topologies for each row execute function refuse_shouting();
