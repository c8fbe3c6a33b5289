-- name: get(id)^
-- record_class: NetworkInstance
-- Return the network instance with this id.
select
  i.id, i.network_id, i.host_id, i.bridge, i.attrs
from network_instances i
where i.id = :id;

-- name: list(host_id, network_id, after, limit)
-- record_class: NetworkInstance
-- optional: host_id, network_id
-- Return all network instances, or those on a host, or of a network, ordered by id, after a given one.
select
  i.id, i.network_id, i.host_id, i.bridge, i.attrs
from network_instances i
where
  i.id > :after
  and i.host_id = :host_id -- if: host_id
  and i.network_id = :network_id -- if: network_id
order by i.id
limit :limit;

-- name: create(network_id, host_id, bridge, attrs)<!
-- record_class: NetworkInstance
-- Create a network instance.
insert into network_instances as i (
  network_id, host_id, bridge, attrs
)
values (
  :network_id, :host_id, :bridge, :attrs
)
returning
  i.id, i.network_id, i.host_id, i.bridge, i.attrs;

-- name: update(id, patch)^
-- record_class: NetworkInstance
-- Change the columns in the patch.
update network_instances i set (
  network_id, host_id, bridge
) = (
  select
    r.network_id, r.host_id, r.bridge
  from jsonb_populate_record(i, :patch) r
)
where i.id = :id
returning
  i.id, i.network_id, i.host_id, i.bridge, i.attrs;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update network_instances i set attrs = (i.attrs || :set::jsonb) - :remove::text[]
where i.id = :id
returning i.attrs;

-- name: delete(id)!
-- Delete a network instance.
delete from network_instances i where i.id = :id;

-- name: of_kind(host_id, kind)^
-- record_class: NetworkInstance
-- Return a host's instance of a network of kind x or x/…, with the highest preference.
select i.id, i.network_id, i.host_id, i.bridge, i.attrs
from network_instances i
inner join networks n on n.id = i.network_id
where i.host_id = :host_id and (n.kind = :kind or starts_with(n.kind, :kind || '/'))
order by n.preference desc, n.id, i.id
limit 1;
