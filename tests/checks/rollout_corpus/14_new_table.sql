-- compatible
-- after Nextcloud: a table for a new feature
create table announcements (id bigint generated always as identity primary key, said text not null);
