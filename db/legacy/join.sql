-- Join records that belong together into rows. A record that cannot be joined is an offence. Nothing is dropped here except
-- records with a duplicate pk, so that only faults of the file itself are reported.

do $$
declare
  found regclass;
begin
  for found in
    select c.oid from pg_class c
    where c.relnamespace = pg_my_temp_schema() and (c.relname like 'staged\_%' or c.relname like 'old\_%')
  loop
    execute format('analyze %s', found);
    execute format(
      $sql$
        with twice as (
          select t.ctid, t.model, t.pk, row_number() over (partition by t.model, t.pk order by t.ctid) as n
          from %1$s t
          where (t.model, t.pk) in (select d.model, d.pk from %1$s d group by d.model, d.pk having count(*) > 1)
        ),
        removed as (
          delete from %1$s t using twice w where t.ctid = w.ctid and w.n > 1 returning t.model, t.pk
        )
        insert into offences (model, pk, columns, value, rule, costs)
        select r.model, r.pk, array['pk'], r.pk, 'an earlier record has this pk', 'second' from removed r
      $sql$,
      found
    );
  end loop;
end;
$$;

-- usage

insert into offences (model, pk, columns, value, rule)
select r.model, r.pk, array['usage'], r.usage::text, 'the usage does not exist'
from old_usage_records r
left join old_usages u on u.id = r.usage
where u.id is null;

insert into offences (model, pk, columns, value, rule, costs)
select q.model, q.pk, array[f.field], f.usage::text, 'the usage does not exist', 'part'
from old_quotas q
cross join lateral (values ('monthly', q.monthly), ('used', q.used)) f (field, usage)
left join old_usages u on u.id = f.usage
where u.id is null;

insert into offences (model, pk, columns, value, rule, costs, became)
select u.model, u.pk, array['quota'], u.quota::text, 'the quota does not exist', 'value', 'null'
from staged_users u
left join old_quotas q on q.id = u.quota
where u.quota is not null and q.id is null;

insert into staged_usage_records (
  model, pk, usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime
)
select
  r.model, r.pk, r.usage_id, r.type, r.begin_at, r.end_at, r.measurements,
  u.memory, u.diskspace, u.traffic, u.cputime
from old_usage_records r
left join old_usages u on u.id = r.usage;
analyze staged_usage_records;

-- The end of the old installation's latest rollup. It has no pk, since it is no record of the file.
insert into staged_usage_progress (settled_at)
select max(r.end_at)
from staged_usage_records r
where
  r.type = '5minutes' and r.end_at <= now() and not exists (select from staged_host_elements e where e.usage_id = r.usage_id)
  and not exists (select from staged_host_connections c where c.usage_id = r.usage_id)
having max(r.end_at) is not null;

insert into staged_quotas (
  model, pk, user_id, used_at, continuous_factor,
  monthly_memory, monthly_diskspace, monthly_traffic, monthly_cputime,
  used_memory, used_diskspace, used_traffic, used_cputime
)
select
  q.model, q.pk, u.id, q.used_at, q.continuous_factor,
  mu.memory, mu.diskspace, mu.traffic, mu.cputime,
  uu.memory, uu.diskspace, uu.traffic, uu.cputime
from old_quotas q
inner join staged_users u on u.quota = q.id
left join old_usages mu on mu.id = q.monthly
left join old_usages uu on uu.id = q.used;

-- The old backend subtracted the free allowance of memory and disk even from smaller values, so heavy users can have a negative
-- use.
insert into readings (model, pk, columns, value, became, reason)
select q.model, q.pk, array[f.name], f.used::text, '0', 'the usage is negative'
from staged_quotas q
cross join lateral (
  values
  ('used_memory', q.used_memory), ('used_diskspace', q.used_diskspace), ('used_traffic', q.used_traffic),
  ('used_cputime', q.used_cputime)
) f (name, used)
where f.used < 0;

update staged_quotas q
set
  used_memory = case when q.used_memory < 0 then 0 else q.used_memory end,
  used_diskspace = case when q.used_diskspace < 0 then 0 else q.used_diskspace end,
  used_traffic = case when q.used_traffic < 0 then 0 else q.used_traffic end,
  used_cputime = case when q.used_cputime < 0 then 0 else q.used_cputime end
where least(q.used_memory, q.used_diskspace, q.used_traffic, q.used_cputime) < 0;

-- permissions: a set is its topology's

insert into offences (model, pk, columns, value, rule)
select e.model, e.pk, array['permissions'], e.permissions::text, 'the permissions do not exist'
from old_permission_entries e
left join old_permissions p on p.id = e.permissions
where p.id is null;

insert into offences (model, pk, columns, value, rule, costs, became)
select t.model, t.pk, array['permissions'], t.permissions::text, 'the permissions do not exist', 'value', 'none'
from staged_topologies t
left join old_permissions p on p.id = t.permissions
where p.id is null
union all
select
  c.model, c.pk, array['permissions'], c.permissions::text, 'a component has the permissions of its topology', 'value',
  t.permissions::text
from (
  select e.model, e.pk, e.topology_id, e.permissions from staged_elements e
  union all
  select c.model, c.pk, c.topology_id, c.permissions from staged_connections c
) c
inner join staged_topologies t on t.id = c.topology_id
where c.permissions is distinct from t.permissions;

insert into staged_topology_permissions (model, pk, topology_id, user_id, role)
select e.model, e.pk, t.id, e.user_id, e.role
from old_permission_entries e
inner join staged_topologies t on t.permissions = e.permissions
where e.role <> 'null';

-- resources: attrs are in the base row

insert into old_resources (model, pk, id)
select t.model, t.pk, t.id from staged_templates t
union all
select p.model, p.pk, p.id from staged_profiles p
union all
select n.model, n.pk, n.id from staged_networks n
union all
select i.model, i.pk, i.id from staged_network_instances i;

update staged_templates s
set model = t.model, tech = t.tech, name = t.name, preference = t.preference
from old_templates t
where t.id = s.id;

update staged_profiles s
set model = p.model, tech = p.tech, name = p.name, preference = p.preference
from old_profiles p
where p.id = s.id;

update staged_networks s
set model = n.model, kind = n.kind, preference = n.preference
from old_networks n
where n.id = s.id;

update staged_network_instances s
set model = i.model, network_id = i.network_id, host_id = i.host_id, bridge = i.bridge
from old_network_instances i
where i.id = s.id;

with lone as (
  insert into staged_templates (model, pk, id, tech, name, preference)
  select o.model, o.pk, o.id, o.tech, o.name, o.preference
  from old_templates o
  where not exists (select from staged_templates s where s.id = o.id)
  returning model, pk
)

insert into offences (model, pk, columns, value, rule, costs, became)
select l.model, l.pk, array['pk'], l.pk, 'no resource has this pk and type', 'value', 'one without attrs' from lone l;

with lone as (
  insert into staged_profiles (model, pk, id, tech, name, preference)
  select o.model, o.pk, o.id, o.tech, o.name, o.preference
  from old_profiles o
  where not exists (select from staged_profiles s where s.id = o.id)
  returning model, pk
)

insert into offences (model, pk, columns, value, rule, costs, became)
select l.model, l.pk, array['pk'], l.pk, 'no resource has this pk and type', 'value', 'one without attrs' from lone l;

with lone as (
  insert into staged_networks (model, pk, id, kind, preference)
  select o.model, o.pk, o.id, o.kind, o.preference
  from old_networks o
  where not exists (select from staged_networks s where s.id = o.id)
  returning model, pk
)

insert into offences (model, pk, columns, value, rule, costs, became)
select l.model, l.pk, array['pk'], l.pk, 'no resource has this pk and type', 'value', 'one without attrs' from lone l;

with lone as (
  insert into staged_network_instances (model, pk, id, network_id, host_id, bridge)
  select o.model, o.pk, o.id, o.network_id, o.host_id, o.bridge
  from old_network_instances o
  where not exists (select from staged_network_instances s where s.id = o.id)
  returning model, pk
)

insert into offences (model, pk, columns, value, rule, costs, became)
select l.model, l.pk, array['pk'], l.pk, 'no resource has this pk and type', 'value', 'one without attrs' from lone l;

delete from staged_templates where model = 'tomato.resource';
delete from staged_profiles where model = 'tomato.resource';
delete from staged_networks where model = 'tomato.resource';
delete from staged_network_instances where model = 'tomato.resource';

-- elements: what depends on the type

insert into offences (model, pk, columns, value, rule)
select p.model, p.pk, array['pk'], p.pk, 'no element has this pk and type'
from old_element_parts p
left join staged_elements e on e.id = p.id and p.model = 'tomato.' || e.type
where e.id is null;

update staged_elements e
set
  host_element_id = p.host_element_id,
  site_id = p.site_id,
  template_id = p.template_id,
  profile_id = p.profile_id,
  network_id = p.network_id,
  network_instance_id = p.network_instance_id,
  rextfv_started_at = p.rextfv_started_at,
  next_sync_at = p.next_sync_at
from old_element_parts p
where p.id = e.id and p.model = 'tomato.' || e.type;

update staged_connections c
set type = 'fixed_bridge'
where exists (select from staged_elements e where e.connection_id = c.id and e.type = 'external_network_endpoint');

update staged_connections c
set type = h.type
from staged_host_connections h
where h.id = coalesce(c.host_connection1_id, c.host_connection2_id) and h.type <> '';

-- duplicate templates and profiles (same tech and name): keep the first, and redirect references to it

create temp table kept_templates as
select t.id, min(t.id) over (partition by t.tech, t.name) as kept_id from staged_templates t
where t.tech is not null and t.name is not null;

create temp table kept_profiles as
select p.id, min(p.id) over (partition by p.tech, p.name) as kept_id from staged_profiles p
where p.tech is not null and p.name is not null;

insert into merges (model, pk, into_pk, differs)
select s.model, s.pk, k.kept_id::text, pg_temp.difference(to_jsonb(s), to_jsonb(f))
from kept_templates k
inner join staged_templates s on s.id = k.id
inner join staged_templates f on f.id = k.kept_id
where k.id <> k.kept_id
union all
select s.model, s.pk, k.kept_id::text, pg_temp.difference(to_jsonb(s), to_jsonb(f))
from kept_profiles k
inner join staged_profiles s on s.id = k.id
inner join staged_profiles f on f.id = k.kept_id
where k.id <> k.kept_id;

delete from staged_templates s using kept_templates k where k.id = s.id and k.id <> k.kept_id;
delete from staged_profiles s using kept_profiles k where k.id = s.id and k.id <> k.kept_id;

update staged_elements e set template_id = k.kept_id
from kept_templates k where k.id = e.template_id and k.id <> k.kept_id;

update staged_elements e set profile_id = k.kept_id
from kept_profiles k where k.id = e.profile_id and k.id <> k.kept_id;

update staged_templates_on_hosts h set template_id = k.kept_id
from kept_templates k where k.id = h.template_id and k.id <> k.kept_id;

-- … and of the resulting duplicate rows of a host, keep the latest.
with ordered as (
  select
    h.pk, h.ready, h.changed_at,
    first_value(h.pk) over latest as into_pk,
    first_value(h.ready) over latest as latest_ready
  from staged_templates_on_hosts h
  where h.template_id in (select k.kept_id from kept_templates k where k.id <> k.kept_id)
  window latest as (partition by h.host_id, h.template_id order by h.changed_at desc nulls last, length(h.pk), h.pk)
),

removed as (
  delete from staged_templates_on_hosts h
  using ordered o
  where h.pk = o.pk and o.pk <> o.into_pk
  returning h.model, h.pk, o.into_pk, o.ready, o.latest_ready, o.changed_at
)

insert into merges (model, pk, into_pk, differs)
select
  r.model, r.pk, r.into_pk,
  pg_temp.difference(
    jsonb_build_object('ready', r.ready, 'changed_at', r.changed_at), jsonb_build_object('ready', r.latest_ready)
  )
from removed r;

-- A link has no direction.
update staged_link_measurements
set site_a_id = site_b_id, site_b_id = site_a_id
where site_a_id > site_b_id;

-- A value that a part lost is not listed again for its record.
insert into offences (model, pk, columns, value, rule, round, costs)
select distinct p.whole_model, p.whole_pk, array['pk'], p.pk, format('its %s lost a value', p.model), 2, 'part'
from parts p
inner join offences o on o.model = p.model and o.pk = p.pk and o.costs = 'part';
