-- name: volatile_but_harmless()
-- record_class: Named
-- A random name changes nothing.
select t.id, gen_random_uuid()::text as name from things t;

-- name: sql_function()
-- record_class: Number
-- The function's body only reads.
-- not null: n
select t.id, twice(t.size)::int8 as n from things t;

-- name: counts_view()
-- record_class: Named
-- The view only reads.
select a.id, a.kind as name from all_things a;

-- name: writes_by_its_text()$
-- Its text says that it writes.
with l as (insert into logs (line) values ('x') returning id)

select count(*) from l;
