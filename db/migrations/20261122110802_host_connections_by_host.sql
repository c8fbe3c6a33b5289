-- migrate:up transaction:false

-- The links on a host, page by page.
create index concurrently if not exists host_connections_host_id_idx on host_connections (host_id, id);

-- migrate:down transaction:false

drop index concurrently if exists host_connections_host_id_idx;
