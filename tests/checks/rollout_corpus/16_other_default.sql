-- compatible
-- after Redmine: another default for new rows
alter table templates alter column kblang set default 'de';
