-- name: get(id)^
-- record_class: Network
-- Return the network with this id.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id = :id;

-- name: get_by_kind(kind)^
-- record_class: Network
-- Return the network of this kind.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.kind = :kind;

-- name: list(after, limit)
-- record_class: Network
-- Return all networks, ordered by id, after a given one.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id > :after
order by n.id
limit :limit;

-- name: list_by_kind(kind)
-- record_class: Network
-- Return the networks of kind x and x/…, the highest preference first. Kinds that begin with “x/” are between “x/” and “x0”.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.kind = :kind or (n.kind collate "C" >= :kind || '/' and n.kind collate "C" < :kind || '0')
order by n.preference desc, n.id;

-- name: list_of_host(host_id)
-- record_class: Network
-- Return the networks that have an instance on a host, the highest preference first.
select
  n.id, n.kind, n.preference, n.label, n.restricted, n.attrs
from networks n
where n.id in (select i.network_id from network_instances i where i.host_id = :host_id)
order by n.preference desc, n.id;

-- name: create(kind, preference, label, restricted, attrs)<!
-- record_class: Network
-- Create a network.
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
-- Change the columns in the patch.
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
-- Set and remove keys of attrs, and return the resulting attrs.
update networks n set attrs = (n.attrs || :set::jsonb) - :remove::text[]
where n.id = :id
returning n.attrs;

-- name: delete(id)!
-- Delete a network.
delete from networks n where n.id = :id;
