-- A large synthetic testbed, for plans.py: plans.topologies of topologies, ten times as many elements, fifty times as many
-- usage records, all else in proportion. Triggers and indexes are off meanwhile; it is the same each time.

-- Numbering of ids: topology t has the elements 10 t + 0 … 9, the connections 3 t + 0 … 2, the host elements 5 t + 0 … 4 and
-- the host connections 2 t + 0 … 1. Usage ids are given out in that order.
create temporary table sizes as
select s.n, greatest(s.n / 10, 10) as users, greatest(s.n / 100, 10) as hosts, greatest(s.n / 1000, 5) as organizations
from (select current_setting('plans.topologies')::int as n) s;

insert into usage_statistics (id)
overriding system value
select g from sizes s cross join generate_series(1, 30 * s.n) g;

insert into organizations (id, name, usage_id)
overriding system value
select g, 'organization' || g, 25 * s.n + g
from sizes s cross join generate_series(1, s.organizations) g;

insert into sites (id, name, organization_id)
overriding system value
select g, 'site' || g, g % s.organizations + 1
from sizes s cross join generate_series(1, 2 * s.organizations) g;

insert into users (id, name, origin, organization_id, flags, last_login_at, usage_id)
overriding system value
select
  g, 'user' || g / 2, 'origin' || g % 2, g % s.organizations + 1,
  case
    when g % 1000 = 0 then array['global_admin', 'global_host_contact']
    when g % 100 = 0 then array['over_quota']
    else '{}'
  end,
  now() - g * interval '1 hour', 26 * s.n + g
from sizes s cross join generate_series(1, s.users) g;

insert into quotas (user_id)
select g from sizes s cross join generate_series(1, s.users) g;

insert into hosts (id, name, address, rpcurl, site_id, enabled, info_at, resources_synced_at, problem_since, usage_id)
overriding system value
select
  g, 'host' || g, '10.0.0.' || g, 'ssl+jsonrpc://10.0.0.' || g, g % (2 * s.organizations) + 1, g % 20 <> 0,
  now() - g % 60 * interval '1 second', now() - g % 600 * interval '1 second', case when g % 50 = 0 then now() end, 27 * s.n + g
from sizes s cross join generate_series(1, s.hosts) g;

insert into templates (id, tech, name, preference)
overriding system value
select g, (array['kvmqm', 'openvz', 'repy'])[g % 3 + 1], 'template' || g, g from generate_series(1, 60) g;

insert into profiles (id, tech, name, preference, ram, cpus, diskspace)
overriding system value
select g + 60, (array['kvmqm', 'openvz', 'repy'])[g % 3 + 1], 'profile' || g, g, 512, 1, 10240 from generate_series(1, 15) g;

insert into networks (id, kind, preference)
overriding system value
select g + 75, 'internet/' || g, g from generate_series(1, 20) g;

alter sequence resources_id_seq restart with 1000;

insert into network_instances (network_id, host_id, bridge)
select g % 20 + 76, h, 'bridge' || g from sizes s cross join generate_series(1, s.hosts) h cross join generate_series(1, 2) g;

insert into templates_on_hosts (host_id, template_id, ready)
select h, g, h % 10 <> 0 from sizes s cross join generate_series(1, s.hosts) h cross join generate_series(1, 60) g;

insert into topologies (id, name, site_id, timeout_at, timeout_step, usage_id)
overriding system value
select
  t, 'topology' || t, case when t % 10 = 0 then t % (2 * s.organizations) + 1 end,
  now() + (t % 1000 - 500) * interval '1 hour',
  case when t % 1000 < 400 then 20 when t % 1000 < 480 then 10 when t % 1000 < 520 then 9 else 0 end, t
from sizes s cross join generate_series(1, s.n) t;

insert into topology_permissions (topology_id, user_id, role)
select t, (t * 7919::bigint + g * 31) % s.users + 1, case g when 0 then 'owner' else 'user' end
from sizes s cross join generate_series(1, s.n) t cross join generate_series(0, 1) g;

insert into connections (id, topology_id, state, host_connection1_id, host_element1_id, usage_id)
overriding system value
select
  3 * t + g, t, case when t % 3 = 0 then 'started' else 'created' end, case when g < 2 and t % 3 = 0 then 2 * t + g end,
  case when g < 2 and t % 3 = 0 then 5 * t + 3 + g end, s.n * 12 + 3 * t + g
from sizes s cross join generate_series(1, s.n) t cross join generate_series(0, 2) g;

insert into elements (
  id, topology_id, type, state, parent_id, connection_id, host_element_id, template_id, profile_id, next_sync_at, usage_id
)
overriding system value
select
  10 * t + k.g, t, k.type, case when t % 3 = 0 then 'started' else 'created' end,
  case when k.parent is not null then 10 * t + k.parent end, case when k.connection is not null then 3 * t + k.connection end,
  case when k.g < 5 and t % 3 = 0 then 5 * t + k.g end, case when k.g < 3 then 3 * (t % 20) + 3 end,
  case when k.g < 3 and t % 2 = 0 then 3 * (t % 5) + 63 end,
  case when k.g < 3 and t % 100 = 0 then now() + (t % 1440 - 10) * interval '1 minute' end,
  s.n + 10 * t + k.g
from sizes s
cross join generate_series(1, s.n) t
cross join (
  values (0, 'kvmqm', null, null), (1, 'kvmqm', null, null), (2, 'kvmqm', null, null), (3, 'kvmqm_interface', 0, 0),
  (4, 'kvmqm_interface', 1, 1), (5, 'kvmqm_interface', 2, 2), (6, 'kvmqm_interface', 2, null), (7, 'tinc_vpn', null, null),
  (8, 'tinc_endpoint', 7, 0), (9, 'tinc_endpoint', 7, 1)
) k (g, type, parent, connection);

insert into host_elements (id, host_id, num, element_id, type, state, usage_id)
overriding system value
select
  5 * t + g, t % s.hosts + 1, 5 * t + g, case when t % 100 <> 1 then 10 * t + g end, 'kvmqm', 'started',
  s.n * 16 + 5 * t + g
from sizes s cross join generate_series(1, s.n) t cross join generate_series(0, 4) g;

insert into host_connections (id, host_id, num, connection_id, type, state, usage_id)
overriding system value
select
  2 * t + g, t % s.hosts + 1, 2 * t + g, case when t % 100 <> 1 then 3 * t + g end, 'bridge', 'started',
  s.n * 22 + 2 * t + g
from sizes s cross join generate_series(1, s.n) t cross join generate_series(0, 1) g;

insert into usage_records (usage_id, type, begin_at, end_at, memory, diskspace, traffic, cputime, measurements)
select
  t, k.type, date_trunc('hour', now()) - (r + 1) * k.length, date_trunc('hour', now()) - r * k.length,
  512e6, 10e9, t, 60, 5
from sizes s
cross join generate_series(1, s.n) t
cross join (
  values ('5minutes', interval '5 minutes', 12), ('day', '1 day', 14), ('hour', '1 hour', 24)
) k (type, length, records)
cross join lateral generate_series(0, k.records - 1) r;

insert into link_measurements (site_a_id, site_b_id, type, begin_at, end_at, loss, delay_avg, delay_stddev, measurements)
select a, b, 'hour', now() - (r + 1) * interval '1 hour', now() - r * interval '1 hour', 0, 0.01, 0.001, 60
from sizes s
cross join generate_series(1, 2 * s.organizations) a
cross join lateral generate_series(a, least(a + 9, 2 * s.organizations)) b
cross join generate_series(0, 23) r;

insert into error_groups (group_id)
select 'group' || g from sizes s cross join generate_series(1, s.n / 100) g;

insert into error_dumps (source, dump_id, group_id, at)
select 'host' || g % s.hosts, 'dump' || g, 'group' || g % (s.n / 100) + 1, now() - g * interval '1 minute'
from sizes s cross join generate_series(1, s.n / 10) g;
