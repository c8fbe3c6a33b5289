-- compatible
-- after Mastodon: integers become bigints
alter table link_measurements alter column measurements type bigint;
