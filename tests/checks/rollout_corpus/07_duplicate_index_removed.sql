-- compatible
-- after Mastodon: an index that another one contains goes
create index elements_topology_id_twice_idx on elements (topology_id);
drop index elements_topology_id_twice_idx;
