-- migrate:up transaction:false

-- Timeouts, by when they are due.
create index concurrently if not exists topologies_timeout_turn_idx
on topologies (greatest(timeout_due_at(timeout_step, timeout_at), timeout_lease_until)) where timeout_step < 20;

-- migrate:down transaction:false

drop index concurrently if exists topologies_timeout_turn_idx;
