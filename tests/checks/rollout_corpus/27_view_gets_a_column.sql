-- compatible
create or replace view error_group_summaries as
select
  g.group_id, g.description, g.removed_dumps, g.removed_dumps + d.kept as count, d.last_at, d.sources, d.origins, d.versions,
  d.descriptions, d.data_available, d.kept
from error_groups g
cross join
  lateral (
    select
      count(*) as kept,
      max(d.at) as last_at,
      coalesce(array_agg(distinct d.source), '{}') as sources,
      coalesce(array_agg(distinct d.origin), '{}') as origins,
      coalesce(jsonb_agg(distinct d.software_version), '[]') as versions,
      coalesce(jsonb_agg(distinct d.description), '[]') as descriptions,
      coalesce(bool_or(d.data_available), false) as data_available
    from error_dumps d
    where d.group_id = g.group_id
  ) d;
