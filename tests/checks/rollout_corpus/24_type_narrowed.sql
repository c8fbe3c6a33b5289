-- breaks
alter table link_measurements alter column measurements type smallint;
