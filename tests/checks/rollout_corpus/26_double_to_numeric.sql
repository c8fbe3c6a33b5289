-- breaks
alter table link_measurements alter column loss type numeric;
