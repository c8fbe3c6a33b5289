-- breaks
update elements set state = 'created' where state = 'prepared';
alter table connections drop constraint connections_state_check;
update connections set state = 'created';
alter table connections add constraint connections_state_check check (state = 'created');
