-- breaks
alter table settings drop constraint settings_host_update_interval_check;
alter table settings add constraint settings_host_update_interval_check check (host_update_interval between 10 and 3600);
