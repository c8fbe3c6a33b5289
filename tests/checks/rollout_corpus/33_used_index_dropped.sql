-- breaks
drop index elements_connection_id_idx;
