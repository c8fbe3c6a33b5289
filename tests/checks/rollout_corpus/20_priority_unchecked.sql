-- compatible
-- after Oban: the check of priorities goes
alter table sites drop constraint sites_latitude_check;
