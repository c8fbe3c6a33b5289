-- migrate:up transaction:false

-- Machines, by when they are to be looked at.
create index concurrently if not exists elements_sync_turn_idx
on elements (greatest(next_sync_at, sync_lease_until)) where next_sync_at is not null;

-- migrate:down transaction:false

drop index concurrently if exists elements_sync_turn_idx;
