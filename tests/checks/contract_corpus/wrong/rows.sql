-- name: merge_on_true()^
-- All rows are joined.
-- found: at most one row
merge into things t using parts p on true
when matched then update set size = 1
returning t.id;

-- name: merge_of_one(id)^
-- Rows that the source lacks are changed, too.
-- found: at most one row
merge into things t using (values (1)) v (n) on t.id = :id
when not matched by source then delete
returning t.kind;

-- name: merge_pins_target_only(id)^
-- The condition leaves all of the source.
-- found: at most one row
merge into things t using parts p on t.id = :id and p.id = t.id
when not matched then insert (id, kind, size) values (p.id + 100, p.code, 1)
returning t.kind;

-- name: rollup_rows()^
-- record_class: Counted
-- A row for the kind, and the total.
-- found: at most one row
-- found: kind can be null
select t.kind, count(*) as n from things t where t.id = 1 group by rollup (t.kind);

-- name: sets_rows()$
-- A row for each set.
-- found: at most one row
select count(*) from things t group by grouping sets ((), ());

-- name: ties()^
-- All that are as large.
-- found: at most one row
select t.id from things t order by t.size fetch first 1 rows with ties;

-- name: cast_key(name)^
-- Names that differ in blanks at their end.
-- found: at most one row
select t.id from things t where t.kind = 'a' and t.name::bpchar = (:name::text)::bpchar;

-- name: deferrable_key(place)^
-- In a transaction there may be two for a while.
-- found: at most one row
select s.thing_id from slots s where s.place = :place;

-- name: partial_key(name)^
-- Old ones are not in the index.
-- found: at most one row
select h.is_old from halves h where h.name = :name;

-- name: inherited_key(id)^
-- The children have keys of their own.
-- found: at most one row
select p.id from places p where p.id = :id;

-- name: volatile_key()^
-- Each row has a number of its own.
-- found: at most one row
select t.id from things t where t.id = (random() * 10)::bigint;

-- name: half_a_key(kind)^
-- The key has two columns.
-- found: at most one row
select t.id from things t where t.kind = :kind;

-- name: key_or(id)^
-- One of two conditions.
-- found: at most one row
select t.id from things t where t.id = :id or t.size = 1;

-- name: key_of_many(ids)^
-- Several keys are given.
-- found: at most one row
select t.id from things t where t.id = any(:ids::bigint []);

-- name: key_of_left_join(id)^
-- The condition is the join's.
-- found: at most one row
select t.kind from things t left join parts p on t.id = :id and p.id = :id;

-- name: key_of_right_join(id)^
-- All parts stay.
-- found: at most one row
select p.code from things t right join parts p on p.id = t.id and t.id = :id;

-- name: full_join(id)^
-- One of each side.
-- found: at most one row
select coalesce(t.kind, p.code, '') from (select t.kind from things t where t.id = :id) t
full join (select p.code from parts p where p.id = :id) p on p.code = t.kind;

-- name: joined_many(id)^
-- A thing has many parts.
-- found: at most one row
select p.code from things t inner join parts p on p.thing_id = t.id where t.id = :id;

-- name: rows_from_one(id)^
-- A row for each tag.
-- not null: tag
-- found: at most one row
select unnest(t.tags) as tag from things t where t.id = :id;

-- name: union_of_single(id)^
-- One of each arm.
-- found: at most one row
select t.kind from things t where t.id = :id union all select p.code from parts p where p.id = :id;

-- name: function_of_many()^
-- All things of a kind.
-- found: at most one row
select f.id from things_of('a', 'b') f;

-- name: distinct_on_many()^
-- One of each kind.
-- found: at most one row
select distinct on (t.kind) t.id from things t order by t.kind, t.id;

-- name: distinct_of_nulled()^
-- record_class: Truth
-- A value, and null for others.
-- found: at most one row
-- found: id can be null
-- found: is_it can be null
select distinct v.id, v.is_it from things t left join (select 1::bigint as id, true as is_it) v on v.id = t.id;

-- name: no_row(id)$
-- No thing has that id.
-- found: row that is always there
select t.kind from things t where t.id = :id;

-- name: no_changed_row(id)<!
-- No thing has that id.
-- found: row that is always there
update things t set size = 1 where t.id = :id returning t.kind;

-- name: no_stored_row()<!
-- It may be there.
-- found: row that is always there
insert into things (id, kind, size) values (1, 'a', 1) on conflict do nothing returning kind;

-- name: no_updated_row()<!
-- The condition may not hold.
-- found: row that is always there
insert into things as t (id, kind, size) values (1, 'a', 1)
on conflict (id) do update set kind = 'a' where t.size > 1
returning t.kind;

-- name: no_row_by_trigger()<!
-- A trigger may refuse the row.
-- found: row that is always there
insert into watched (id, name) values (1, 'a') returning name;

-- name: no_group()$
-- HAVING may leave none.
-- found: row that is always there
select count(*) from things t having count(*) > 1;

-- name: no_first()$
-- There may be no thing.
-- found: row that is always there
select t.kind from things t order by t.id limit 1;

-- name: no_match()$
-- The join's condition may not hold.
-- found: row that is always there
select v.n from (values (1)) v (n) inner join (values (2)) w (n) on w.n = v.n;
