-- breaks
-- after Django auth 0005: last_login may be null, which older code reads as a value
alter table users alter column realname drop not null;
