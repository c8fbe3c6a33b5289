-- name: get(id)^
-- record_class: Network
-- The network of that id.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id = :id;

-- name: get_by_kind(kind)^
-- record_class: Network
-- The network of that kind.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.kind = :kind;

-- name: list(after, limit)
-- record_class: Network
-- All networks, by id, after that one.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id > :after
order by n.id
limit :limit;

-- name: list_by_kind(kind)
-- record_class: Network
-- The networks of a kind x and of any kind x/…, highest preference first. What begins with “x/” lies between “x/” and “x0”.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.kind = :kind or (n.kind collate "C" >= :kind || '/' and n.kind collate "C" < :kind || '0')
order by n.preference desc, n.id;

-- name: list_of_host(host_id)
-- record_class: Network
-- The networks that have an instance on a host, highest preference first.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id in (select i.network_id from network_instances i where i.host_id = :host_id)
order by n.preference desc, n.id;

-- name: create(kind, preference, label, restricted, attrs)<!
-- record_class: Network
-- A new network.
insert into networks as n (
  kind, preference, label, restricted, attrs
)
values (
  :kind, :preference, :label, :restricted, :attrs
)
returning
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs;

-- name: update(id, patch)^
-- record_class: Network
-- Change the columns that the patch names.
update networks n set (
  kind, preference, label, restricted
) = (
  select
    r.kind, r.preference, r.label, r.restricted
  from jsonb_populate_record(n, :patch) r
)
where n.id = :id
returning
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs;

-- name: set_attrs(id, set, remove)^
-- Set some keys of attrs and remove others; the attrs that it has then.
update networks n set attrs = (n.attrs || :set::jsonb) - :remove::text[]
where n.id = :id
returning n.attrs;

-- name: delete(id)!
-- Remove a network.
delete from networks n where n.id = :id;
