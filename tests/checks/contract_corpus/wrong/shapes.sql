-- name: aggregated_nulls()
-- record_class: Tagged
-- A name can be null in the list.
-- found: says that tags can hold nulls
select min(t.id) as id, array_agg(t.name) as tags from things t group by t.kind;

-- name: column_of_nulls()
-- record_class: Tagged
-- No constraint keeps nulls out.
-- found: can't know whether tags can hold nulls
select t.id, t.codes as tags from things t;

-- name: appended_null()
-- record_class: Tagged
-- The appended name can be null.
-- found: says that tags can hold nulls
select t.id, t.tags || t.name as tags from things t;

-- name: joined_null()
-- record_class: Tagged
-- The other array's query has nulls.
-- found: says that tags can hold nulls
select t.id, t.tags || array(select p.note from parts p) as tags from things t;

-- name: result_with_nulls()$
-- The list holds names.
-- found: says that array can hold nulls
select array(select t.name from things t);

-- name: twice_for_two()
-- record_class: Pair
-- The second field has the first one's column.
-- found: first and second are the same column
select t.kind as first, t.kind as second from things t;

-- name: twice_by_name()
-- record_class: Named
-- A third column has a name that is there.
-- found: two columns called name
select t.id, t.kind as name, t.label as name from things t where t.label is not null;

-- name: twice_in_json()
-- record_class: Holder
-- The second part is the first one's column.
-- found: part 1 and part 2 are the same column
-- found: Named.name: str; the server says int8
select t.id, (select coalesce(json_agg(json_build_array(p.id, p.id)), '[]') from parts p) as things from things t;

-- name: objects_for_rows()
-- record_class: Holder
-- Whole rows become objects.
-- found: can't know that things is rows
select t.id, (select coalesce(json_agg(p), '[]') from parts p) as things from things t;

-- name: built_objects_for_rows()
-- record_class: Holder
-- Objects, and no lists of columns.
-- found: can't know that things is rows
select t.id, (select coalesce(json_agg(json_build_object('id', p.id, 'name', p.code)), '[]') from parts p) as things
from things t;

-- name: row_for_rows()
-- record_class: Holder
-- One row, and no list of rows.
-- found: can't know that things is rows
select t.id, json_build_array(t.id, t.kind) as things from things t;

-- name: rows_for_row()
-- record_class: Owner
-- A list of rows, and no row.
-- found: can't know that thing is a row
select t.id, (select json_agg(json_build_array(p.id, p.code)) from parts p) as thing from things t;

-- name: null_among_rows()
-- record_class: Holder
-- A row from an outer join is null.
-- found: says that things can hold nulls
select t.id, coalesce(json_agg(a.thing), '[]') as things
from things t
left join (select p.id, json_build_array(p.id, p.code) as thing from parts p) a on a.id = t.id
group by t.id;

-- name: second_arm_of_rows()
-- record_class: Holder
-- The other arm is a list of numbers.
-- found: can't know that things is rows
select t.id, coalesce((select json_agg(json_build_array(p.id, p.code)) from parts p), '[[1]]') as things from things t;

-- name: boolean_for_text()
-- record_class: OptionalHolder
-- The part is a boolean.
-- found: Thing.name: str | None; the server says bool
select t.id, json_build_array(t.id, t.name is null) as thing from things t;

-- name: boolean_expression_for_text()
-- record_class: OptionalHolder
-- The part is a boolean, whatever made it.
-- found: Thing.name: str | None; the server says bool
select t.id, json_build_array(t.id, t.size > 1 and t.size < 3) as thing from things t;

-- name: exists_for_text()
-- record_class: OptionalHolder
-- The part is a boolean.
-- found: Thing.name: str | None; the server says bool
select t.id, json_build_array(t.id, exists (select from parts p where p.id = t.id)) as thing from things t;

-- name: date_in_json()
-- record_class: OptionalHolder
-- JSON has no dates.
-- found: the server has date in a JSON row
select t.id, json_build_array(t.id, t.seen::date) as thing from things t;

-- name: null_in_json()
-- record_class: Holder
-- The part can be null.
-- found: Named.name: str; the server says that it can be null
select t.id, (select coalesce(json_agg(json_build_array(p.id, p.note)), '[]') from parts p) as things from things t;
