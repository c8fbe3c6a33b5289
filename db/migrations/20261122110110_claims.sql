-- migrate:up

-- Work that is done every so often as a whole, by one worker of all: since when it is done, and until when somebody's work.
create table tasks (
  name text primary key,
  started_at instant not null,
  run_lease_until instant
);

-- Users are few.
-- squawk-ignore require-concurrent-index-creation
create index users_password_at_idx on users (origin, password_at) where password_hash is not null;
-- squawk-ignore require-concurrent-index-creation
create index users_last_login_at_idx on users (origin, last_login_at);

-- migrate:down

drop index users_last_login_at_idx;
drop index users_password_at_idx;
drop table tasks;
