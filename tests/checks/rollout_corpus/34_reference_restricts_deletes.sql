-- breaks
create table host_notes (host_id bigint primary key references hosts, said text not null);
