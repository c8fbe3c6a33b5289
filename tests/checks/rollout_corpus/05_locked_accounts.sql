-- compatible
-- after Mastodon: accounts.locked, false by default
alter table hosts add column locked boolean not null default false;
