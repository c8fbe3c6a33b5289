-- breaks
alter table tasks rename to periodic_tasks;
