-- breaks
-- after GitLab: a foreign key is added without validation
alter table usage_due add foreign key (usage_id) references usage_statistics on delete cascade not valid;
