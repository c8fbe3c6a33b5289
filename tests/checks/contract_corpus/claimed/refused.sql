-- name: one_of_two_columns()
-- record_class: Named
-- A constraint that the analysis does not read may say that one of the two is there.
-- not null: name
select t.id, coalesce(t.name, t.info ->> 'name') as name from things t where t.name is not null or t.info ? 'name';

-- name: partial_index(name)^
-- The index is of those that are not old.
-- one row: the partial index has one of each name
select h.is_old from halves h where h.name = :name and not h.is_old;
