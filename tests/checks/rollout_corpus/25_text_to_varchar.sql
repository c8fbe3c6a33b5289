-- breaks
alter table hosts alter column rpcurl type varchar(500);
