-- migrate:up

-- Claims in turn have indexes of their own. To drop one takes a moment.
-- squawk-ignore require-concurrent-index-deletion
drop index topologies_timeout_idx;
-- squawk-ignore require-concurrent-index-deletion
drop index elements_next_sync_at_idx;
-- squawk-ignore require-concurrent-index-deletion
drop index host_elements_orphan_idx;
-- squawk-ignore require-concurrent-index-deletion
drop index host_connections_orphan_idx;

-- migrate:down

create index host_connections_orphan_idx on host_connections (id) where element_id is null and connection_id is null;
create index host_elements_orphan_idx on host_elements (id) where element_id is null and connection_id is null;
create index elements_next_sync_at_idx on elements (next_sync_at) where next_sync_at is not null;
create index topologies_timeout_idx on topologies (timeout_step, timeout_at);
