-- breaks
alter table users drop constraint users_name_origin_key;
