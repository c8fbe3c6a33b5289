-- compatible
-- after Django auth 0008: usernames of 150 characters and not 30
alter table organizations drop constraint organizations_name_check;
alter table organizations add constraint organizations_name_check check (length(name) <= 255 and name !~ '/');
