-- migrate:up transaction:false

-- Claims in turn have an index of their own.
drop index concurrently if exists host_elements_orphan_idx;

-- migrate:down transaction:false

create index concurrently if not exists host_elements_orphan_idx
on host_elements (id) where element_id is null and connection_id is null;
