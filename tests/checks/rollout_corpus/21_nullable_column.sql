-- compatible
alter table topologies add column note text;
