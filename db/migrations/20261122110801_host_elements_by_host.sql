-- migrate:up transaction:false

-- What runs on a host, page by page.
create index concurrently if not exists host_elements_host_id_idx on host_elements (host_id, id);

-- migrate:down transaction:false

drop index concurrently if exists host_elements_host_id_idx;
