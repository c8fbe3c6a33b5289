-- breaks
-- after Rails guides, strong_migrations: a column gets another name
alter table hosts rename column address to ip_address;
