-- compatible
-- after River: one more state of jobs
alter table connections drop constraint connections_state_check;
alter table connections add constraint connections_state_check check (state in ('created', 'prepared', 'started'));
