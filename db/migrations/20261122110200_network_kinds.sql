-- migrate:up

-- Finds the kinds that begin with “x/”, whatever the database's collation.
-- Networks are few.
-- squawk-ignore require-concurrent-index-creation
create index networks_kind_prefix_idx on networks (kind collate "C");

-- migrate:down

drop index networks_kind_prefix_idx;
