-- compatible
-- after Django auth 0010: group names of 150 characters and not 80
alter table sites drop constraint sites_name_check;
alter table sites add constraint sites_name_check check (length(name) <= 150 and name !~ '/') not valid;
