-- name: get(id)^
-- record_class: Template
-- Return the template with this id.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.id = :id;

-- name: full(id)^
-- record_class: FullTemplate
-- Return the template with this id, and how many hosts have it ready and have a row for it.
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
-- Return the template with this tech and name.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.tech = :tech and tp.name = :name;

-- name: preferred(tech)^
-- record_class: Template
-- Return the template of a tech with the highest preference.
select
  tp.id, tp.tech, tp.name, tp.preference, tp.label, tp.subtype, tp.restricted, tp.kblang, tp.torrent_data, tp.attrs
from templates tp
where tp.tech = :tech
order by tp.preference desc, tp.id
limit 1;

-- name: list(tech, after, limit)
-- record_class: ListedTemplate
-- optional: tech
-- Return all templates, or those of a tech, ordered by id, after a given one; without the torrent data.
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
-- Return all templates, ordered by id, after a given one, each with its state on a host.
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
-- Create a template.
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
-- Change the columns in the patch.
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
-- Set and remove keys of attrs, and return the resulting attrs.
update templates tp set attrs = (tp.attrs || :set::jsonb) - :remove::text[]
where tp.id = :id
returning tp.attrs;

-- name: delete(id)!
-- Delete a template.
delete from templates tp where tp.id = :id;

-- name: readiness(id)^
-- record_class: TemplateReadiness
-- Count the hosts that have a template ready, and those that have a row for it.
select tp.id as template_id, count(*) filter (where x.ready) as ready, count(x.host_id) as hosts
from templates tp
left join templates_on_hosts x on x.template_id = tp.id
where tp.id = :id
group by tp.id;

-- name: list_readiness(after, limit)
-- record_class: TemplateReadiness
-- Count, for each template, the hosts that have it ready and those that have a row for it; ordered by id.
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
