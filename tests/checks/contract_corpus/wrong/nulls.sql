-- name: any_of_nulls()
-- record_class: Truth
-- An array with a null has no answer for a value that it lacks.
-- found: can't know whether is_it can be null
select t.id, t.kind = any(t.codes) as is_it from things t;

-- name: none_of_nulls(codes)
-- record_class: Truth
-- nullable: codes
-- What is given holds nulls.
-- found: is_it can be null
select t.id, t.kind <> all(:codes::text []) as is_it from things t;

-- name: any_of_constant()
-- record_class: Truth
-- The constant array has a null.
-- found: is_it can be null
select t.id, t.kind = any('{a,null}'::text []) as is_it from things t;

-- name: in_subquery()
-- record_class: Truth
-- IN over a nullable column.
-- found: is_it can be null
select t.id, t.kind in (select p.note from parts p) as is_it from things t;

-- name: json_null()
-- record_class: Number
-- JSON's null becomes SQL's in a cast.
-- found: can't know whether n can be null
select t.id, t.info::int8 as n from things t;

-- name: lower_of_range()
-- record_class: Number
-- A range may have no lower bound.
-- found: can't know whether n can be null
select t.id, lower(t.span)::int8 as n from things t;

-- name: infinite_time()
-- record_class: Truth
-- An infinite moment has no time of day.
-- found: can't know whether is_it can be null
select t.id, t.seen::time > '12:00' as is_it from things t;

-- name: path_that_is_not_there()
-- record_class: Named
-- A key may be missing.
-- found: can't know whether name can be null
select t.id, t.info ->> 'name' as name from things t;

-- name: rollup_key()
-- record_class: Counted
-- The total's row has no kind.
-- found: kind can be null
select t.kind, count(*) as n from things t group by rollup (t.kind);

-- name: cube_sum()
-- record_class: Summed
-- The total is null without rows.
-- found: n can be null
select coalesce(t.kind, '') as kind, sum(t.size) as n from things t group by cube (t.kind);

-- name: sets_sum()
-- The total of no rows is null.
-- found: sum can be null
select sum(t.size) from things t group by grouping sets ((t.kind), ());

-- name: omitted_default()
-- record_class: Named
-- The argument that is left out is null.
-- found: name can be null
select f.id, f.name from things_of('a') f;

-- name: named_null()
-- record_class: Named
-- The argument that is null is named.
-- found: name can be null
select f.id, f.name from things_of(named => null, of_kind => 'a') f;

-- name: nested_call()
-- record_class: Named
-- A function's argument comes from another call of it.
-- found: name can be null
select f.id, f.name from things_of('a', null) g cross join lateral things_of('a', g.name) f;

-- name: whole_row()
-- record_class: Named
-- The function's query has a whole row for the columns.
-- not null: id
-- found: can't know whether name can be null
select f.id, f.name from whole_things() f;

-- name: old_of_insert()<!
-- record_class: Named
-- A new row has no old one.
-- found: id can be null
-- found: name can be null
insert into things (id, kind, size) values (1, 'a', 1) returning old.id, old.kind as name;

-- name: old_of_upsert()<!
-- record_class: Named
-- A row that is new has no old one.
-- found: id can be null
insert into things as t (id, kind, size) values (1, 'a', 1)
on conflict (id) do update set kind = 'b'
returning old.id, new.kind as name;

-- name: new_of_delete(id)^
-- A removed row has no new one.
-- found: kind can be null
delete from things t where t.id = :id returning new.kind;

-- name: merged_source()
-- record_class: Named
-- Rows that the source lacks have none of its columns.
-- found: id can be null
merge into things t using parts p on t.id = p.id
when matched then update set size = 1
when not matched by source then delete
returning p.id, t.kind as name;

-- name: old_of_merge()
-- What a merge inserts has no old row.
-- found: id can be null
merge into things t using parts p on t.id = p.id
when not matched then insert (id, kind, size) values (p.id, p.code, 1)
returning old.id;

-- name: updated_to_null(id)^
-- The condition is about the name before.
-- found: name can be null
update things t set name = t.info ->> 'name' where t.id = :id and t.name is not null returning t.name;

-- name: set_from_subquery(id)^
-- The subquery may have no row.
-- found: name can be null
update things t set (name, size) = (select p.code, 1 from parts p where p.id = t.id) where t.id = :id returning t.name;

-- name: upserted(name)<!
-- The row that is there keeps its name.
-- found: name can be null
insert into things as t (id, kind, size, name) values (1, 'a', 1, :name)
on conflict (id) do update set size = 2
returning t.name;

-- name: watched_name()
-- A trigger decides on the row; the default is not the statement's.
-- found: note can be null
insert into parts (id, code) values (1, 'a') returning note;

-- name: of_outer_join()
-- record_class: Named
-- A thing without parts.
-- found: name can be null
select t.id, p.code as name from things t left join parts p on p.thing_id = t.id;

-- name: of_outer_join_filtered()
-- record_class: Named
-- The condition is the join's, and keeps all of the left.
-- found: name can be null
select t.id, t.name from things t left join parts p on p.thing_id = t.id and t.name is not null;

-- name: of_or()
-- record_class: Named
-- One of the two conditions is enough.
-- found: name can be null
select t.id, t.name from things t where t.name is not null or t.size > 1;

-- name: of_full_join()
-- record_class: Named
-- A side may be missing.
-- found: id can be null
-- found: name can be null
select t.id, p.code as name from things t full join parts p on p.thing_id = t.id;

-- name: merged_of_nullable()
-- record_class: Named
-- The merged column is null where the part's is.
-- found: id can be null
select m.id, 'x' as name from things t full join (select p.thing_id as id from parts p) m using (id);

-- name: merged_using()
-- record_class: Named
-- One side's column may be null.
-- found: id can be null
select id, 'x' as name from things t full join (select p.thing_id as id from parts p) m using (id);

-- name: second_arm()
-- record_class: Named
-- Both arms can be null.
-- found: name can be null
select t.id, coalesce(t.name, p.note) as name from things t inner join parts p on p.id = t.id;

-- name: case_without_else()
-- record_class: Named
-- Nothing matches.
-- found: name can be null
select t.id, case when t.size > 1 then t.kind end as name from things t;

-- name: nulled_by_nullif()
-- record_class: Named
-- Both are equal.
-- found: can't know whether name can be null
select t.id, nullif(t.kind, 'a') as name from things t;

-- name: empty_frame()
-- record_class: Number
-- The first row has no rows before.
-- found: n can be null
select t.id, max(t.id) over (order by t.id rows between 2 preceding and 1 preceding) as n from things t;

-- name: excluded_frame()
-- record_class: Number
-- A single row has no other.
-- found: n can be null
select t.id, max(t.id) over (rows between unbounded preceding and unbounded following exclude current row) as n from things t;

-- name: filtered_aggregate()
-- record_class: Summed
-- The filter may leave none.
-- found: n can be null
select t.kind, sum(t.size) filter (where t.size > 1) as n from things t group by t.kind;

-- name: aggregate_of_all()$
-- There may be none.
-- found: max can be null
select max(t.id) from things t;

-- name: aggregate_of_nullable()
-- record_class: Pair
-- All names of a kind may be null.
-- found: second can be null
select t.kind as first, max(t.name) as second from things t group by t.kind;

-- name: scalar_subquery()
-- record_class: Named
-- There may be no part.
-- found: name can be null
select t.id, (select p.code from parts p where p.id = t.id) as name from things t;

-- name: subquery_with_having()
-- record_class: Number
-- HAVING may leave no row.
-- found: n can be null
select t.id, (select count(*) from parts p having count(*) > 1) as n from things t;

-- name: second_union_arm()
-- record_class: Named
-- The second arm's name is nullable.
-- found: name can be null
select t.id, t.kind as name from things t union all select p.id, p.note from parts p;

-- name: recursive_step()
-- record_class: Named
-- It begins not null, and the step makes nulls.
-- found: name can be null
with recursive r as (
  select t.id, t.kind as name from things t
  union
  select p.id, p.note from parts p inner join r on r.id = p.thing_id
)

select r.id, r.name from r;

-- name: inherited_null()
-- record_class: Named
-- The children's column may be null.
-- found: name can be null
select p.id, p.name from places p;

-- name: not_validated()
-- record_class: Named
-- Old rows were not checked.
-- found: name can be null
select l.id, l.name from late l;

-- name: domain_null()
-- record_class: Named
-- A domain's NOT NULL does not keep nulls out of a column.
-- found: name can be null
select b.id, b.content as name from boxes b;

-- name: current_schema_is_null()$
-- There may be none.
-- found: current_schema can be null
select current_schema;

-- name: unnested()
-- The array's elements may be null.
-- found: can't know whether code can be null
select c.code from things t cross join unnest(t.codes) c (code);

-- name: padded()
-- record_class: Pair
-- The shorter array is filled up.
-- found: can't know whether first can be null
-- found: can't know whether second can be null
select u.first, u.second from things t cross join unnest(t.tags, t.tags) u (first, second);
