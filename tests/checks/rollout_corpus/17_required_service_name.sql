-- breaks
-- after Rails Active Storage: service_name, without a default
alter table hosts add column service_name text;
update hosts set service_name = 'local';
alter table hosts alter column service_name set not null;
