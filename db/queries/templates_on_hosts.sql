-- name: get(host_id, template_id)^
-- record_class: TemplateOnHost
-- Return the state of a template on a host.
select x.host_id, x.template_id, x.ready, x.changed_at
from templates_on_hosts x
where x.host_id = :host_id and x.template_id = :template_id;

-- name: list_of_host(host_id, after, limit)
-- record_class: TemplateOnHost
-- Return the templates on a host, ordered by template, after a given one.
select x.host_id, x.template_id, x.ready, x.changed_at
from templates_on_hosts x
where x.host_id = :host_id and x.template_id > :after
order by x.template_id
limit :limit;

-- name: list_of_template(template_id, after, limit)
-- record_class: TemplateOnHost
-- Return the hosts of a template, ordered by host, after a given one.
select x.host_id, x.template_id, x.ready, x.changed_at
from templates_on_hosts x
where x.template_id = :template_id and x.host_id > :after
order by x.host_id
limit :limit;

-- name: set(host_id, template_id, ready)<!
-- record_class: TemplateOnHost
-- Store whether a host has a template ready.
insert into templates_on_hosts as x (host_id, template_id, ready)
values (:host_id, :template_id, :ready)
on conflict (host_id, template_id) do update
  set
    ready = excluded.ready,
    changed_at = case when x.ready = excluded.ready then x.changed_at else now() end
returning x.host_id, x.template_id, x.ready, x.changed_at;

-- name: set_of_host(host_id, template_ids, ready)!
-- Store which templates a host has ready. Only changes are written, in order, so that two such statements cannot deadlock.
insert into templates_on_hosts as x (host_id, template_id, ready)
select :host_id, g.template_id, g.ready
from unnest(:template_ids::bigint [], :ready::boolean []) g (template_id, ready)
order by g.template_id
on conflict (
  host_id, template_id) do update set ready = excluded.ready, changed_at = now()
where x.ready <> excluded.ready;

-- name: delete(host_id, template_id)!
-- Delete the row of a template on a host.
delete from templates_on_hosts x where x.host_id = :host_id and x.template_id = :template_id;
