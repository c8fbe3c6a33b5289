-- breaks
alter table hosts enable row level security;
