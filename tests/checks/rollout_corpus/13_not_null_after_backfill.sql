-- breaks
-- after Sentry: a column is not null once it is filled
update hosts set info_at = now() where info_at is null;
alter table hosts alter column info_at set not null;
