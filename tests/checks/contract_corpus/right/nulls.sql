-- name: full_join_using()
-- record_class: Named
-- A merged column is one side's or the other's.
select id, coalesce(t.kind, p.code, '') as name from things t full join parts p using (id);

-- name: named_arguments()
-- record_class: Named
-- No argument is null, in whatever order.
select f.id, f.name from things_of(named => 'x', of_kind => 'a') f;

-- name: given_argument(named)
-- record_class: Named
-- The parameter is not null.
select f.id, f.name from things_of('a', :named) f;

-- name: window_over_all()
-- record_class: Number
-- Each row is in its own frame.
select t.id, max(t.id) over () as n from things t;

-- name: window_in_order()
-- record_class: Number
-- The frame ends with the row.
select t.id, sum(t.size) over (partition by t.kind order by t.id) as n from things t;

-- name: generated_column()
-- record_class: Named
-- It is made of a column that is not null.
select t.id, t.label as name from things t;

-- name: right_join()
-- record_class: Named
-- The right side stays as it is.
select p.id, p.code as name from things t right join parts p on p.thing_id = t.id;

-- name: joined_back()
-- record_class: Named
-- WHERE takes the rows without a part away.
select p.id, p.code as name from things t left join parts p on p.thing_id = t.id where p.code > 'a';

-- name: inner_after_outer()
-- record_class: Named
-- The inner join needs the part.
select p.id, p.code as name
from things t
left join parts p on p.thing_id = t.id
inner join things o on o.id = p.id;

-- name: is_not_null()
-- record_class: Named
-- The condition says so.
select t.id, t.name from things t where t.name is not null;

-- name: equal_to(name)
-- record_class: Named
-- What is equal to something is not null.
select t.id, t.name from things t where t.name = :name;

-- name: one_of(names)
-- record_class: Named
-- What is one of several is not null.
select t.id, t.name from things t where t.name = any(:names);

-- name: both_arms()
-- record_class: Named
-- Each arm of the OR needs the name.
select t.id, t.name from things t where t.name = 'a' or t.name like 'b%';

-- name: not_equal()
-- record_class: Named
-- A condition that is false is not null, either.
select t.id, t.name from things t where not t.name = 'a';

-- name: grouped_by_filtered()
-- record_class: Counted
-- A group's key is a row's column.
select t.name as kind, count(*) as n from things t where t.name is not null group by t.name;

-- name: view_that_filters()
-- record_class: Named
-- The view's condition says so.
select n.id, n.name from named n;

-- name: third_arm()
-- record_class: Named
-- The last arm is never null.
select t.id, coalesce(t.name, t.info ->> 'name', t.kind) as name from things t;

-- name: any_of_whole_array()
-- record_class: Truth
-- A constraint keeps nulls out of the array.
select t.id, t.kind = any(t.tags) as is_it from things t;

-- name: any_of_parameter(kinds)
-- record_class: Truth
-- What is given holds no nulls.
select t.id, t.kind <> all(:kinds::text []) as is_it from things t;

-- name: in_list()
-- record_class: Truth
-- A list of constants.
select t.id, t.kind in ('a', 'b') as is_it from things t;

-- name: in_subquery_of_keys()
-- record_class: Truth
-- The subquery's column is not null.
select t.id, t.kind in (select p.code from parts p) as is_it from things t;

-- name: cast_of_number()
-- record_class: Number
-- Numbers stay numbers.
select t.id, t.size::numeric::int8 as n from things t;

-- name: aggregates_of_group()
-- record_class: Summed
-- A group has a row.
select t.kind, sum(t.size) as n from things t group by t.kind;

-- name: count_in_subquery()
-- record_class: Number
-- A count is there for no rows, too.
select t.id, (select count(*) from parts p where p.thing_id = t.id) as n from things t;

-- name: sum_with_default()$
-- The default is for no rows.
select coalesce(sum(t.size), 0)::int8 from things t;

-- name: recursive_keeps()
-- record_class: Named
-- Each step keeps what it begins with.
with recursive r as (
  select t.id, t.kind as name from things t
  union
  select r.id + 1, r.name || 'x' from r where r.id < 10
)

select r.id, r.name from r;

-- name: inserted_values(name)<!
-- record_class: Named
-- The statement gives the name.
insert into things as t (id, kind, size, name) values (101, 'new', 1, :name) returning t.id, t.name;

-- name: updated_value(id)^
-- The statement sets it.
update things t set name = t.kind || '!' where t.id = :id returning t.name;

-- name: upserted_value(note)<!
-- The statement gives it, or sets what it gave.
insert into parts as p (id, code, note) values (101, 'new', :note)
on conflict (id) do update set note = excluded.note
returning p.note;

-- name: old_of_update(id)^
-- record_class: Pair
-- There is an old row, and a new one.
update things t set kind = 'b' where t.id = :id returning old.kind as first, new.kind as second;

-- name: old_of_filtered_update(id)^
-- The condition is about the name before.
update things t set name = null where t.id = :id and t.name is not null returning old.name;

-- name: merged_target()
-- record_class: Pair
-- The target's columns are not null, and there is a source row for each.
merge into things t using parts p on t.id = p.id
when matched then update set size = 1
when not matched then insert (id, kind, size) values (p.id, p.code, 1)
returning t.kind as first, p.code as second;

-- name: unnested_parameter(kinds)
-- What is given holds no nulls.
select k.kind from unnest(:kinds::text []) k (kind);

-- name: series()
-- Numbers from 1 to 3.
select s.n from generate_series(1, 3) s (n);

-- name: distinctness()
-- record_class: Truth
-- It compares nulls, too.
select t.id, t.name is distinct from 'a' as is_it from things t;

-- name: values_of_constants()
-- record_class: Named
-- All of them are there.
select v.id, v.name from (values (1::bigint, 'a'), (2, 'b')) v (id, name);

-- name: outer_join_and_default()
-- record_class: Named
-- The default is for things without a part.
select t.id, coalesce(p.code, '') as name from things t left join parts p on p.thing_id = t.id;
