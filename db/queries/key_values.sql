-- name: get(key)^
-- record_class: KeyValue
-- Return the value under this key.
select k.key, k.value
from key_values k
where k.key = :key;

-- name: list(after, limit)
-- record_class: KeyValue
-- nullable: after
-- Return all keys and values, ordered by key, after a given one (null: from the first, whose key may be empty).
select k.key, k.value
from key_values k
where k.key >= coalesce(:after, '') and k.key is distinct from :after
order by k.key
limit :limit;

-- name: set(key, value)!
-- Store a value under a key, replacing the value that is there.
insert into key_values (key, value)
values (:key, :value)
on conflict (key) do update set value = excluded.value;

-- name: delete(key)!
-- Delete a key and its value.
delete from key_values k where k.key = :key;
