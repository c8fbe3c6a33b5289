-- name: export(id)^
-- record_class: ExportedTopology
-- Return a topology's name, attrs, preferred site, elements and connections, with names in place of references. What a host
-- element or host connection reports replaces what was asked for; if it runs the other way round, “from” becomes “to”.
-- Templates and profiles are those that an element runs with: its own, or else the preferred one.
with preferred_templates as (
  select distinct on (tp.tech) tp.tech, tp.id
  from templates tp
  order by tp.tech, tp.preference desc, tp.id
),

preferred_profiles as (
  select distinct on (pf.tech) pf.tech, pf.id
  from profiles pf
  order by pf.tech, pf.preference desc, pf.id
)

select
  t.name, t.attrs, s.name as site_name,
  (
    select
      coalesce(
        json_agg(
          json_build_object(
            'id', e.id, 'type', e.type, 'parent', e.parent_id,
            'attrs', e.attrs || case when jsonb_typeof(he.attrs -> 'attrs') = 'object' then he.attrs -> 'attrs' else '{}' end
            || jsonb_strip_nulls(
              jsonb_build_object('template', tp.name, 'profile', pf.name, 'site', es.name)
            )
          )
          order by e.id
        ),
        '[]'
      )
    from elements e
    left join preferred_templates ptp on ptp.tech = e.type
    left join templates tp on tp.id = coalesce(e.template_id, ptp.id)
    left join preferred_profiles ppf on ppf.tech = e.type
    left join profiles pf on pf.id = coalesce(e.profile_id, ppf.id)
    left join sites es on es.id = e.site_id
    left join host_elements he on he.id = e.host_element_id
    where e.topology_id = t.id
  ) as elements,
  (
    select
      coalesce(
        json_agg(
          json_build_object(
            'id', c.id, 'type', c.type, 'attrs', c.attrs || coalesce(said.attrs, '{}'), 'elements', ends.ids
          )
          order by c.id
        ),
        '[]'
      )
    from connections c
    left join host_connections hc on hc.id = c.host_connection1_id
    left join host_elements far on far.id = c.host_element1_id
    cross join
      lateral (
        select json_agg(e.id order by e.id) as ids, array_agg(near.num order by e.id) as nums
        from elements e
        left join host_elements near on near.id = e.host_element_id
        where e.connection_id = c.id
      ) ends
    cross join
      lateral (
        select
          jsonb_object_agg(
            case
              when ends.nums[1] < coalesce(far.num, ends.nums[2]) then a.key
              when a.key ~ '_from$' then regexp_replace(a.key, '_from$', '_to')
              else regexp_replace(a.key, '_to$', '_from')
            end,
            a.value
          ) as attrs
        from jsonb_each(case when jsonb_typeof(hc.attrs -> 'attrs') = 'object' then hc.attrs -> 'attrs' end) a
        where ends.nums[1] is not null and coalesce(far.num, ends.nums[2]) is not null
      ) said
    where c.topology_id = t.id
  ) as connections
from topologies t
left join sites s on s.id = t.site_id
where t.id = :id;

-- name: import_topology(name, site, attrs, elements, connections, user_id)<!
-- record_class: ImportedTopology
-- nullable: site
-- one row: its triggers return the row
-- Create a topology from an export: elements (id, type, parent, attrs) are created in the order of their old ids,
-- connections (id, type, ends, attrs) between them; known names become references. Elements that have names come first, so
-- that names are free for the others. Names that are unknown, or restricted and
-- not for this user, stay in attrs and are reported.
with given_elements as materialized (
  select
    nextval(pg_get_serial_sequence('elements', 'id')) as new_id,
    g.id, g.type, g.parent, g.attrs
  from (
    select r.id, r.type, r.parent, r.attrs
    from jsonb_to_recordset(:elements) r (id bigint, type text, parent bigint, attrs jsonb)
    order by r.id
  ) g
),

given_connections as materialized (
  select
    nextval(pg_get_serial_sequence('connections', 'id')) as new_id,
    g.id, g.type, g.ends, g.attrs
  from (
    select r.id, r.type, r.ends, r.attrs
    from jsonb_to_recordset(:connections) r (id bigint, type text, ends bigint[], attrs jsonb)
    order by r.id
  ) g
),

given_ends as (
  select g.new_id, unnest(g.ends) as element
  from given_connections g
),

importer as materialized (
  select coalesce((select u.flags from users u where u.id = :user_id), '{}') as flags
),

named as materialized (
  select
    g.new_id, g.id, g.type, g.parent, g.attrs, s.id as site_id,
    case when tp.restricted and not i.flags @> '{restricted_templates}' then null else tp.id end as template_id,
    case when pf.restricted and not i.flags @> '{restricted_profiles}' then null else pf.id end as profile_id,
    array_remove(
      array[
        case when tp.restricted and not i.flags @> '{restricted_templates}' then 'template' end,
        case when pf.restricted and not i.flags @> '{restricted_profiles}' then 'profile' end,
        case when nw.restricted and not i.flags @> '{restricted_networks}' then 'kind' end
      ],
      null
    ) as restricted
  from given_elements g
  cross join importer i
  left join templates tp
    on tp.tech = g.type and tp.name = g.attrs ->> 'template' and jsonb_typeof(g.attrs -> 'template') = 'string'
  left join profiles pf
    on pf.tech = g.type and pf.name = g.attrs ->> 'profile' and jsonb_typeof(g.attrs -> 'profile') = 'string'
  left join sites s on s.name = g.attrs ->> 'site' and jsonb_typeof(g.attrs -> 'site') = 'string'
  left join lateral (
    select n.restricted
    from networks n
    where
      g.type in ('external_network', 'external_network_endpoint') and jsonb_typeof(g.attrs -> 'kind') = 'string'
      and (n.kind = g.attrs ->> 'kind' or starts_with(n.kind, (g.attrs ->> 'kind') || '/'))
    order by n.kind = g.attrs ->> 'kind' desc, n.preference desc, n.id
    limit 1
  ) nw on true
),

new_topology as (
  insert into topologies as t (name, site_id, attrs)
  select
    :name, s.id,
    case
      when s.id is null and :site::text is not null then :attrs::jsonb || jsonb_build_object('site', :site::text)
      else :attrs::jsonb
    end
  from (values (1)) one
  left join sites s on s.name = :site
  returning t.id, t.site_id
),

new_owner as (
  insert into topology_permissions (topology_id, user_id, role)
  select t.id, :user_id, 'owner'
  from new_topology t
),

new_connections as (
  insert into connections (id, topology_id, type, attrs)
  overriding system value
  select g.new_id, t.id, g.type, new_connection_attrs(g.attrs)
  from given_connections g
  cross join new_topology t
),

new_elements as (
  insert into elements (id, topology_id, type, parent_id, connection_id, site_id, template_id, profile_id, attrs)
  overriding system value
  select
    n.new_id, t.id, n.type, p.new_id, c.new_id, n.site_id, n.template_id, n.profile_id,
    n.attrs - array_remove(
      array[
        case when n.template_id is not null then 'template' end,
        case when n.profile_id is not null then 'profile' end,
        case when n.site_id is not null then 'site' end
      ],
      null
    )
  from named n
  cross join new_topology t
  left join given_elements p on p.id = n.parent
  left join given_ends c on c.element = n.id
  order by coalesce(n.attrs ->> 'name', '') = '', n.id
)

select
  t.id as topology_id,
  (select coalesce(json_object_agg(g.id, g.new_id), '{}') from given_elements g) as element_ids,
  (select coalesce(json_object_agg(g.id, g.new_id), '{}') from given_connections g) as connection_ids,
  (
    select coalesce(json_agg(u.report order by u.id, u.report), '[]')
    from (
      select n.id, format('element %s: unknown %s %s', n.id, k.key, n.attrs -> k.key) as report
      from named n
      cross join
        lateral (
          values ('template', n.template_id), ('profile', n.profile_id), ('site', n.site_id)
        ) k (key, reference)
      where k.reference is null and jsonb_typeof(n.attrs -> k.key) <> 'null' and k.key <> all(n.restricted)
      union all
      select
        n.id,
        format(
          'element %s: restricted %s %s: the user lacks the flag restricted_%ss', n.id, r.key, n.attrs -> r.key,
          case r.key when 'kind' then 'network' else r.key end
        )
      from named n
      cross join lateral unnest(n.restricted) r (key)
      union all
      select 0 as id, format('topology: unknown site %s', to_json(:site::text)) as report
      where :site::text is not null and t.site_id is null
    ) u
  ) as reported
from new_topology t;
