-- name: get(id)^
-- record_class: Connection
-- not null: from_element_id, to_element_id
-- Return the connection with this id.
select
  c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
  c.host_element2_id, c.usage_id, c.attrs,
  x.from_element_id, x.to_element_id
from connections c
cross join lateral connection_ends(c.id) x
where c.id = :id;

-- name: list_of_topology(topology_id, after, limit)
-- record_class: Connection
-- not null: from_element_id, to_element_id
-- Return the connections of a topology, ordered by id, after a given one.
select
  c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
  c.host_element2_id, c.usage_id, c.attrs,
  x.from_element_id, x.to_element_id
from connections c
cross join lateral connection_ends(c.id) x
where c.topology_id = :topology_id and c.id > :after
order by c.id
limit :limit;

-- name: update(id, patch)^
-- record_class: Connection
-- not null: from_element_id, to_element_id
-- Change the columns in the patch.
update connections c set (
  type, state, host_connection1_id, host_connection2_id, host_element1_id, host_element2_id
) = (
  select
    r.type, r.state, r.host_connection1_id, r.host_connection2_id, r.host_element1_id, r.host_element2_id
  from jsonb_populate_record(c, :patch) r
)
where c.id = :id
returning
  c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
  c.host_element2_id, c.usage_id, c.attrs,
  (select min(e.id) from elements e where e.connection_id = c.id) as from_element_id,
  (select max(e.id) from elements e where e.connection_id = c.id) as to_element_id;

-- name: set_attrs(id, set, remove)^
-- Set and remove keys of attrs, and return the resulting attrs.
update connections c set attrs = (c.attrs || :set::jsonb) - :remove::text[]
where c.id = :id
returning c.attrs;

-- name: delete(id)!
-- Delete a connection.
delete from connections c where c.id = :id;

-- name: create(element_a_id, element_b_id, type, attrs)^
-- record_class: Connection
-- nullable: type
-- Connect two elements of one topology. Return no row if they are in different topologies or connected already.
with ends as (
  select e.id, e.topology_id, e.type
  from elements e
  where e.id in (:element_a_id, :element_b_id) and e.connection_id is null and e.type ~ '_(interface|endpoint)$'
  order by e.id
  for no key update
),

made as (
  insert into connections as c (topology_id, type, attrs)
  select
    min(e.topology_id),
    coalesce(:type, case when bool_or(e.type = 'external_network_endpoint') then 'fixed_bridge' else 'bridge' end),
    new_connection_attrs(:attrs)
  from ends e
  having count(*) = 2 and min(e.topology_id) = max(e.topology_id)
  returning
    c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
    c.host_element2_id, c.usage_id, c.attrs
),

joined as (
  update elements e set connection_id = m.id
  from made m
  where e.id in (:element_a_id, :element_b_id)
)

select
  m.id, m.topology_id, m.type, m.state, m.host_connection1_id, m.host_connection2_id, m.host_element1_id,
  m.host_element2_id, m.usage_id, m.attrs,
  least(:element_a_id, :element_b_id) as from_element_id,
  greatest(:element_a_id, :element_b_id) as to_element_id
from made m;

-- name: list_ends(element_ids)
-- record_class: ConnectionEnd
-- Return the types and connections of elements, to say why they cannot be connected.
select e.id, e.topology_id, e.type, e.connection_id
from elements e
where e.id = any(:element_ids)
order by e.id;
