-- name: note_line()$
-- A function that writes, in a language that the server does not look into.
-- found: calls note_line
-- not null: note_line
select note_line('x');

-- name: store_line()$
-- A SQL function that writes.
-- found: has insert
-- not null: store_line
select store_line('x');

-- name: store_text()$
-- The same with a text for a body.
-- found: has insert
-- not null: store_text
select store_text('x');

-- name: advance()$
-- A sequence's next number.
-- found: calls nextval
select nextval('numbers');

-- name: advance_by_view()
-- A view that takes numbers.
-- found: calls nextval
select c.n from counted c;

-- name: notify()!
-- A notification, whose result nobody wants.
-- found: “!” is for a statement that returns no rows
-- found: calls pg_notify
-- found: is of the type void
-- not null: pg_notify
select pg_notify('things', 'x');

-- name: advisory()$
-- A lock.
-- found: calls pg_try_advisory_lock
-- not null: pg_try_advisory_lock
select pg_try_advisory_lock(1);

-- name: set_setting()$
-- A setting.
-- found: calls set_config
-- found: can't know whether set_config can be null
select set_config('work_mem', '1MB', false);

-- name: lock_rows()
-- It locks rows.
-- found: locks rows
select t.id from things t for update;

-- name: lock_rows_inside()
-- A subquery locks rows.
-- found: locks rows
select s.id from (select t.id from things t for share) s;

-- name: writes_in_condition()
-- The condition writes.
-- found: calls note_line
select t.id from things t where note_line(t.kind) = 1;

-- name: writes_in_order()
-- The order is by a sequence.
-- found: calls nextval
select t.id from things t order by nextval('numbers');

-- name: writes_by_language()
-- A stable function of another language may call what writes.
-- found: calls guess
select t.id from things t where guess(t.size) = 1;

-- name: table_lock()!
-- No query at all.
-- found: returns no rows
lock table things;
