-- migrate:up transaction:false

-- Claims in turn have an index of their own.
drop index concurrently if exists topologies_timeout_idx;

-- migrate:down transaction:false

create index concurrently if not exists topologies_timeout_idx
on topologies (timeout_step, timeout_at);
