-- name: pinned_distinct_on(kind)^
-- One of the kind.
select distinct on (t.kind) t.id from things t where t.kind = :kind order by t.kind, t.id;

-- name: pinned_group(kind)^
-- record_class: Counted
-- One group.
select t.kind, count(*) as n from things t where t.kind = :kind group by t.kind;

-- name: pinned_right_join(id)^
-- record_class: Named
-- The part is one, and its thing as well.
select p.id, coalesce(t.kind, '') as name from things t right join parts p on t.id = p.thing_id where p.id = :id;

-- name: pinned_update(id)^
-- A row is changed once, whatever it is joined with.
update things t set size = 1 from parts p where p.thing_id = t.id and t.id = :id returning t.id;

-- name: pinned_delete(id)^
-- A row is removed once, whatever it is joined with.
delete from things t using parts p where t.id = :id and p.thing_id = t.id returning t.kind;

-- name: pinned_merge(id)^
-- One row on either side.
merge into things t using (values (1)) v (n) on t.id = :id
when matched then update set size = v.n
returning t.kind;

-- name: pinned_by_two(kind, name)^
-- The key has two columns.
select t.id from things t where t.kind = :kind and t.name = :name;

-- name: pinned_by_chain(id)^
-- The part's thing is one.
select t.kind from parts p inner join things t on t.id = p.thing_id where p.id = :id;

-- name: pinned_by_cast(id)^
-- The operator family is the key's.
select t.kind from things t where t.id = :id::int4;

-- name: pinned_by_stable(at)^
-- A stable function has one value in a statement.
select t.kind from things t where t.id = length(current_setting('server_version')) and t.seen < :at;

-- name: limited_union()^
-- One of all.
select u.kind from (select t.kind from things t union all select p.code from parts p) u order by u.kind limit 1;

-- name: limited_union_itself()^
-- One of all.
select t.kind from things t union all select p.code from parts p order by kind limit 1;

-- name: excepted(id)^
-- What is taken away leaves one.
select t.kind from things t where t.id = :id except select p.code from parts p;

-- name: function_of_one()^
-- The function's query has a limit.
select f.id from last_thing() f;

-- name: single_value()$
-- No FROM, no condition.
select exists (select from things) as is_there;

-- name: always_counted()<!
-- record_class: Pair
-- A join of single rows.
select a.first, b.second from (select count(*)::text as first from things) a
cross join (values ('x')) b (second);

-- name: outer_join_of_one()<!
-- record_class: Truth
-- The left side is there at any rate.
select v.id, coalesce(t.size > 1, false) as is_it from (values (1::bigint)) v (id) left join things t on t.id = v.id;

-- name: stored()<!
-- record_class: Named
-- Nothing keeps the row out.
insert into things as t (id, kind, size) values (101, 'new', 1) returning t.id, t.kind as name;

-- name: upserted()<!
-- A row is stored or changed.
insert into things as t (id, kind, size) values (101, 'new', 1)
on conflict (id) do update set size = 2
returning t.kind;

-- name: stored_in_cte()<!
-- The CTE has the stored row.
with s as (insert into things as t (id, kind, size) values (101, 'new', 1) returning t.id)

select s.id from s;

-- name: lowest()^
-- One at most.
select t.id from things t order by t.size limit 1;
