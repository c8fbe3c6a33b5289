-- breaks
drop view error_group_summaries;
create view error_group_summaries as select g.group_id, g.description from error_groups g;
