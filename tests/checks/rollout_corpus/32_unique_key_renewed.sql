-- compatible
create unique index users_name_origin_new on users (name, origin);
alter table users drop constraint users_name_origin_key;
