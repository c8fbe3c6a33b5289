-- breaks
-- after Django contenttypes 0002: the column name goes
alter table organizations drop column image_url;
