-- compatible
create table host_notes (host_id bigint primary key references hosts on delete cascade, said text not null);
