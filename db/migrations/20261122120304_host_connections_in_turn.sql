-- migrate:up transaction:false

-- Orphans, those that nobody tried to remove first.
create index concurrently if not exists host_connections_orphan_turn_idx
on host_connections (coalesce(orphan_lease_until, '-infinity'), id) where element_id is null and connection_id is null;

-- migrate:down transaction:false

drop index concurrently if exists host_connections_orphan_turn_idx;
