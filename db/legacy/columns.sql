-- The columns of the temporary tables: type, whether the schema's column is nullable, the expression of its default, and
-- whether the table exists in the schema.
select
  s.relname as staged, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
  coalesce(not r.attnotnull, s.relname = 'old_element_parts') as nullable,
  case when r.attnotnull then pg_get_expr(d.adbin, d.adrelid) end as default_expression,
  t.oid is not null as in_schema
from pg_class s
inner join pg_attribute a on a.attrelid = s.oid and a.attnum > 0 and not a.attisdropped
left join pg_class t on 'staged_' || t.relname = s.relname and t.relnamespace <> pg_my_temp_schema()
left join pg_attribute r on r.attrelid = t.oid and r.attname = a.attname
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
where s.relnamespace = pg_my_temp_schema() and s.relkind = 'r';
