-- compatible
-- after Mattermost: an index for a new search
create index hosts_address_idx on hosts (address);
