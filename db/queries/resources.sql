-- name: get(id)^
-- record_class: Resource
-- one row: an id names one resource
-- Return the resource with this id.
select r.id, r.type, r.attrs
from resources r
where r.id = :id;

-- name: list(after, limit)
-- record_class: Resource
-- Return all resources, ordered by id, after a given one.
select r.id, r.type, r.attrs
from resources r
where r.id > :after
order by r.id
limit :limit;

-- name: list_of_type(type, after, limit)
-- record_class: Resource
-- Return the resources of a type, ordered by id, after a given one.
select r.id, r.type, r.attrs
from resources r
where r.type = :type and r.id > :after
order by r.id
limit :limit;

-- name: delete(id)^
-- Delete the resource with this id, and return how many there were.
with gone as (
  delete from templates tp where tp.id = :id
  returning tp.id
),

gone_profiles as (
  delete from profiles pf where pf.id = :id
  returning pf.id
),

gone_networks as (
  delete from networks n where n.id = :id
  returning n.id
),

gone_instances as (
  delete from network_instances i where i.id = :id
  returning i.id
)

select
  (select count(*) from gone) + (select count(*) from gone_profiles) + (select count(*) from gone_networks)
  + (select count(*) from gone_instances) as removed;
