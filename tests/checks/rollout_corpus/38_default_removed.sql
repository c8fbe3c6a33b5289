-- breaks
alter table connections alter column state drop default;
