-- breaks
-- after Discourse: e-mail addresses are unique
update users set email = id::text;
create unique index users_email_idx on users (lower(email));
