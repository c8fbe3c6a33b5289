-- migrate:up transaction:false

-- Claims in turn have an index of their own.
drop index concurrently if exists elements_next_sync_at_idx;

-- migrate:down transaction:false

create index concurrently if not exists elements_next_sync_at_idx
on elements (next_sync_at) where next_sync_at is not null;
