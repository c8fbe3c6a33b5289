-- name: get(key)^
-- record_class: KeyValue
-- The note of that key.
select k.key, k.value
from key_values k
where k.key = :key;

-- name: list(after, limit)
-- record_class: KeyValue
-- nullable: after
-- All notes, by key, after that one; after null: from the first, whose key may be empty.
select k.key, k.value
from key_values k
where k.key >= coalesce(:after, '') and k.key is distinct from :after
order by k.key
limit :limit;

-- name: set(key, value)!
-- Note a value under a key, instead of the one that is there.
insert into key_values (key, value)
values (:key, :value)
on conflict (key) do update set value = excluded.value;

-- name: delete(key)!
-- Remove a note.
delete from key_values k where k.key = :key;
