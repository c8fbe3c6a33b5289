-- name: writes_once()$
-- It is no read.
-- writes: it takes a number
select nextval('numbers');

-- name: may_be_repeated()
-- Locks are gone with the session that had them.
-- repeatable: the locks end with the session
select t.id from things t for update;

-- name: same_column()
-- record_class: Pair
-- Both are meant to be the kind.
-- twice: a thing without a name goes by its kind
select t.kind as first, t.kind as second from things t where t.name is null;
