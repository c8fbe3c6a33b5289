-- name: aggregated()
-- record_class: Tagged
-- Kinds are not null.
select min(t.id) as id, array_agg(distinct t.kind) as tags from things t group by t.size;

-- name: checked()
-- record_class: Tagged
-- A constraint keeps nulls out.
select t.id, t.tags from things t;

-- name: appended()
-- record_class: Tagged
-- What is joined has no nulls.
select t.id, array_append(t.tags, 'x') || array[t.kind] || '{y}'::text [] as tags from things t;

-- name: without_nulls()
-- record_class: Tagged
-- Nulls are removed.
select t.id, array_remove(t.codes, null) as tags from things t;

-- name: of_a_subquery()
-- record_class: Tagged
-- The subquery's column is not null.
select t.id, array(select p.code from parts p where p.thing_id = t.id) as tags from things t;

-- name: rows_in_a_row()
-- record_class: Holder
-- A list of rows.
select t.id, (select coalesce(json_agg(json_build_array(p.id, p.code)), '[]') from parts p) as things from things t;

-- name: binary_rows_in_a_row()
-- record_class: Holder
-- The same in jsonb.
select t.id, (select coalesce(jsonb_agg(jsonb_build_array(p.id, p.code)), '[]') from parts p) as things from things t;

-- name: row_in_a_row()
-- record_class: Owner
-- A row, or none.
select t.id, (select json_build_array(p.id, p.code) from parts p where p.id = t.id) as thing from things t;

-- name: rows_of_a_view()
-- record_class: OptionalHolder
-- The view makes the row.
select a.id, a.thing from all_things a;
