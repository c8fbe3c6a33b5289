-- compatible
-- after Discourse: columns that no code reads any more go
alter table key_values drop column attrs;
