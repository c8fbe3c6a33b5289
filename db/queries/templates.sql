-- name: get(id)^
-- record_class: Template
-- The template of that id.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.id = :id;

-- name: full(id)^
-- record_class: FullTemplate
-- The template of that id, with the numbers of hosts that have it ready, and that report on it.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs,
  r.ready, r.hosts
from templates tp
cross join
  lateral (
    select count(*) filter (where x.ready) as ready, count(*) as hosts
    from templates_on_hosts x
    where x.template_id = tp.id
  ) r
where tp.id = :id;

-- name: get_by_name(tech, name)^
-- record_class: Template
-- The template of that tech and name.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.tech = :tech and tp.name = :name;

-- name: preferred(tech)^
-- record_class: Template
-- The template of a tech with the highest preference.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.tech = :tech
order by tp.preference desc, tp.id
limit 1;

-- name: list(tech, after, limit)
-- record_class: ListedTemplate
-- optional: tech
-- All templates, or those of a tech, by id, after that one; without the torrent data.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data_md5, tp.attrs
from templates tp
where
  tp.id > :after
  and tp.tech = :tech -- if: tech
order by tp.id
limit :limit;

-- name: list_of_host(host_id, after, limit)
-- record_class: TemplateOfHost
-- All templates, by id, after that one, each with what a host says of it.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data_md5, tp.attrs,
  x.ready, x.changed_at
from hosts h
cross join templates tp
left join templates_on_hosts x on x.host_id = h.id and x.template_id = tp.id
where h.id = :host_id and tp.id > :after
order by tp.id
limit :limit;

-- name: create(tech, name, preference, label, subtype, restricted, kblang, torrent_data, attrs)<!
-- record_class: Template
-- A new template.
insert into templates as tp (
  tech, name, preference, label, subtype, restricted, kblang, torrent_data, attrs
)
values (
  :tech, :name, :preference, :label, :subtype, :restricted, :kblang, :torrent_data, :attrs
)
returning
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs;

-- name: update(id, patch)^
-- record_class: Template
-- Change the columns that the patch names.
update templates tp set (
  tech, name, preference, label, subtype, restricted, kblang, torrent_data
) = (
  select
    r.tech, r.name, r.preference, r.label, r.subtype, r.restricted, r.kblang, r.torrent_data
  from jsonb_populate_record(tp, :patch) r
)
where tp.id = :id
returning
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs;

-- name: set_attrs(id, set, remove)^
-- Set some keys of attrs and remove others; the attrs that it has then.
update templates tp set attrs = (tp.attrs || :set::jsonb) - :remove::text[]
where tp.id = :id
returning tp.attrs;

-- name: delete(id)!
-- Remove a template.
delete from templates tp where tp.id = :id;

-- name: readiness(id)^
-- record_class: TemplateReadiness
-- Count the hosts that have a template ready, and those that report on it.
select tp.id as template_id, count(*) filter (where x.ready) as ready, count(x.host_id) as hosts
from templates tp
left join templates_on_hosts x on x.template_id = tp.id
where tp.id = :id
group by tp.id;

-- name: list_readiness(after, limit)
-- record_class: TemplateReadiness
-- Count for each template the hosts that have it ready, and those that report on it; by id, after that one.
select tp.id as template_id, r.ready, r.hosts
from templates tp
cross join
  lateral (
    select count(*) filter (where x.ready) as ready, count(*) as hosts
    from templates_on_hosts x
    where x.template_id = tp.id
  ) r
where tp.id > :after
order by tp.id
limit :limit;
