\restrict dbmate

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: instant; Type: DOMAIN; Schema: public; Owner: -
--

CREATE DOMAIN public.instant AS timestamp with time zone
	CONSTRAINT instant_is_finite_and_of_years_1_to_9999 CHECK (((VALUE >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (VALUE < '10000-01-01 00:00:00+00'::timestamp with time zone)));


--
-- Name: seconds(integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.seconds(duration integer) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN make_interval(secs => (duration)::double precision);


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: settings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.settings (
    id smallint DEFAULT 1 NOT NULL,
    host_update_interval integer DEFAULT 60 NOT NULL,
    resource_sync_interval integer DEFAULT 600 NOT NULL,
    availability_half_life integer DEFAULT (90 * 86400) NOT NULL,
    topology_timeout_initial integer DEFAULT 3600 NOT NULL,
    topology_timeout_default integer DEFAULT (3 * 86400) NOT NULL,
    topology_timeout_maximum integer DEFAULT (30 * 86400) NOT NULL,
    topology_timeout_warning integer DEFAULT 86400 NOT NULL,
    topology_timeout_options integer[] DEFAULT '{86400,259200,1209600,2592000}'::integer[] NOT NULL,
    quota_memory double precision DEFAULT '10000000000'::numeric NOT NULL,
    quota_diskspace double precision DEFAULT '100000000000'::numeric NOT NULL,
    quota_traffic double precision DEFAULT '1620000000000'::numeric NOT NULL,
    quota_cputime double precision DEFAULT 12960000 NOT NULL,
    quota_continuous_factor double precision DEFAULT 1 NOT NULL,
    error_dump_interval integer DEFAULT 1800 NOT NULL,
    CONSTRAINT settings_availability_half_life_check CHECK (((availability_half_life >= 1) AND (availability_half_life <= 315360000))),
    CONSTRAINT settings_error_dump_interval_check CHECK (((error_dump_interval >= 1) AND (error_dump_interval <= 315360000))),
    CONSTRAINT settings_host_update_interval_check CHECK (((host_update_interval >= 1) AND (host_update_interval <= 315360000))),
    CONSTRAINT settings_id_check CHECK ((id = 1)),
    CONSTRAINT settings_quota_continuous_factor_check CHECK (((quota_continuous_factor >= (0)::double precision) AND (quota_continuous_factor <= 'Infinity'::double precision))),
    CONSTRAINT settings_quota_cputime_check CHECK (((quota_cputime >= (0)::double precision) AND (quota_cputime <= 'Infinity'::double precision))),
    CONSTRAINT settings_quota_diskspace_check CHECK (((quota_diskspace >= (0)::double precision) AND (quota_diskspace <= 'Infinity'::double precision))),
    CONSTRAINT settings_quota_memory_check CHECK (((quota_memory >= (0)::double precision) AND (quota_memory <= 'Infinity'::double precision))),
    CONSTRAINT settings_quota_traffic_check CHECK (((quota_traffic >= (0)::double precision) AND (quota_traffic <= 'Infinity'::double precision))),
    CONSTRAINT settings_resource_sync_interval_check CHECK (((resource_sync_interval >= 1) AND (resource_sync_interval <= 315360000))),
    CONSTRAINT settings_topology_timeout_default_check CHECK (((topology_timeout_default >= 1) AND (topology_timeout_default <= 315360000))),
    CONSTRAINT settings_topology_timeout_initial_check CHECK (((topology_timeout_initial >= 1) AND (topology_timeout_initial <= 315360000))),
    CONSTRAINT settings_topology_timeout_maximum_check CHECK (((topology_timeout_maximum >= 1) AND (topology_timeout_maximum <= 315360000))),
    CONSTRAINT settings_topology_timeout_options_check CHECK (((array_position(topology_timeout_options, NULL::integer) IS NULL) AND (0 < ALL (topology_timeout_options)))),
    CONSTRAINT settings_topology_timeout_warning_check CHECK (((topology_timeout_warning >= 1) AND (topology_timeout_warning <= 315360000)))
);


--
-- Name: initial_timeout(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.initial_timeout() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (now() + public.seconds(s.topology_timeout_initial))
    FROM public.settings s;
END;


--
-- Name: usage_statistics; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_statistics (
    id bigint NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT usage_statistics_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text))
);


--
-- Name: new_usage_id(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.new_usage_id() RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 INSERT INTO public.usage_statistics DEFAULT VALUES
   RETURNING usage_statistics.id;
END;


--
-- Name: topologies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.topologies (
    id bigint NOT NULL,
    name text NOT NULL,
    site_id bigint,
    timeout_at public.instant DEFAULT public.initial_timeout() NOT NULL,
    timeout_step smallint DEFAULT 9 NOT NULL,
    usage_id bigint DEFAULT public.new_usage_id(),
    timeout_lease_until public.instant,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT topologies_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT topologies_timeout_step_check CHECK ((timeout_step = ANY (ARRAY[0, 9, 10, 20])))
);


--
-- Name: topology_permissions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.topology_permissions (
    topology_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    CONSTRAINT topology_permissions_role_check CHECK ((role = ANY (ARRAY['user'::text, 'manager'::text, 'owner'::text])))
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id bigint NOT NULL,
    name text NOT NULL,
    origin text DEFAULT ''::text NOT NULL,
    organization_id bigint NOT NULL,
    realname text DEFAULT ''::text NOT NULL,
    email text DEFAULT ''::text NOT NULL,
    flags text[] DEFAULT '{}'::text[] NOT NULL,
    password_hash text,
    password_at public.instant,
    last_login_at public.instant DEFAULT now(),
    usage_id bigint DEFAULT public.new_usage_id(),
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT users_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT users_flags_check CHECK ((array_position(flags, NULL::text) IS NULL))
);


--
-- Name: accessible_topologies(bigint, bigint, bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.accessible_topologies(to_user_id bigint, before bigint, at_most bigint) RETURNS TABLE(topology_id bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT g.id
    FROM ( SELECT t.id
            FROM public.topologies t
           WHERE ((t.id < accessible_topologies.before) AND (EXISTS ( SELECT
                    FROM public.users u
                   WHERE ((u.id = accessible_topologies.to_user_id) AND (u.flags && ARRAY['global_topl_owner'::text, 'global_topl_manager'::text, 'global_topl_user'::text])))))
           ORDER BY t.id DESC
          LIMIT accessible_topologies.at_most) g
 UNION ALL
  SELECT p.topology_id
    FROM public.topology_permissions p
   WHERE ((p.user_id = accessible_topologies.to_user_id) AND (p.topology_id < accessible_topologies.before))
 UNION ALL
  SELECT op.topology_id
    FROM ((public.users u
      JOIN public.users o ON ((o.organization_id = u.organization_id)))
      JOIN public.topology_permissions op ON (((op.user_id = o.id) AND (op.role = 'owner'::text))))
   WHERE ((u.id = accessible_topologies.to_user_id) AND (u.flags && ARRAY['orga_topl_owner'::text, 'orga_topl_manager'::text, 'orga_topl_user'::text]) AND (op.topology_id < accessible_topologies.before));
END;


--
-- Name: aggregate_usage(timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.aggregate_usage(moment timestamp with time zone, started_at timestamp with time zone, OUT ran boolean, OUT written bigint, OUT pruned bigint, OUT late bigint, OUT waiting bigint, OUT unfinished boolean) RETURNS record
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  part constant integer := 50000;  -- records, windows or objects that are worked on between two looks at the clock
  until constant timestamptz := clock_timestamp() + interval '10 seconds';
  run usage_run;
begin
  written := 0;
  pruned := 0;
  late := 0;
  waiting := 0;
  unfinished := false;
  ran := pg_try_advisory_xact_lock(504446936933);  -- "usage"
  if not ran then
    return;
  end if;

  delete from usage_run u returning u.* into run;
  if run.id is null then
    run.id := 1;
    run.moment := aggregate_usage.moment;
    run.started := started_at;
    run.settled := '0001-01-01 00:00:00+00';
    run.grown := '{}';
    run.built := '{}';
    run.reopened := '{}';
    run.written := 0;
    run.pruned := 0;
    run.late := 0;
    select p.settled_at, p.ran_at, p.resumed_at into run.settled_before, run.ran_before, run.resumed from usage_progress p;
    -- Nobody ran for longer than a window, or not since the old installation: what hosts measured meanwhile is still to come.
    if run.moment > run.ran_before + interval '5 minutes' or (run.ran_before is null and run.settled_before is not null) then
      run.resumed := run.moment;
    end if;
    run := usage_step(run, case when run.ran_before is null then -5 else 0 end);
  end if;

  loop
    run := case
      when run.step < 0 then find_due_usage(run, part)
      when run.step = 0 then take_usage(run, part)
      when run.step < 5 then roll_up_usage(run, part)
      when run.step = 5 then reopen_usage(run, part)
      when run.step % 2 = 0 then combine_usage(run, part)
      else prune_usage(run, part)
    end;
    exit when run.step > 15;
    if clock_timestamp() >= until then
      insert into usage_run select run.*;
      unfinished := true;
      exit;
    end if;
  end loop;
  written := run.written;
  pruned := run.pruned;
  late := run.late;
  select count(*) into waiting from usage_arrivals a;
end;
$$;


--
-- Name: check_flags(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_flags() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  known constant text[] := array[
    'debug', 'error_notify', 'no_topology_create', 'over_quota', 'new_account', 'nomails',
    'restricted_profiles', 'restricted_templates', 'restricted_networks',
    'global_admin', 'global_host_manager', 'global_topl_owner', 'global_topl_manager', 'global_topl_user',
    'global_host_contact', 'global_admin_contact',
    'orga_admin', 'orga_host_manager', 'orga_topl_owner', 'orga_topl_manager', 'orga_topl_user',
    'orga_host_contact', 'orga_admin_contact'
  ];
  unknown text;
begin
  select f into unknown from unnest(new.flags) f
  where f <> all (known) and (tg_op = 'INSERT' or f <> all (old.flags))
  limit 1;
  if found then
    raise exception 'flag "%" is unknown', unknown
    using errcode = 'TD004', constraint = 'users_flags_known', table = 'users';
  end if;
  return null;
end;
$$;


--
-- Name: check_last_owner(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_last_owner() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  update topologies set name = name where id = old.topology_id;
  if found and not exists (select from topology_permissions where topology_id = old.topology_id and role = 'owner') then
    raise exception 'user % is the last owner of topology %', old.user_id, old.topology_id
    using errcode = 'TD003', constraint = 'topology_permissions_last_owner', table = 'topology_permissions';
  end if;
  return null;
end;
$$;


--
-- Name: check_resource_id(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_resource_id() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  if (select count(*) from resources r where r.id = new.id) > 1 then
    raise exception 'another resource has the id %', new.id
    using errcode = 'unique_violation', constraint = 'resources_id_key', table = 'resources';
  end if;
  return null;
end;
$$;


--
-- Name: check_two_ends(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_two_ends() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  ids bigint[];
  changed bigint;
begin
  if tg_table_name = 'connections' then
    ids := array[new.id];
  elsif tg_op = 'INSERT' then
    ids := array[new.connection_id];
  else
    ids := array_remove(array[old.connection_id, new.connection_id], null);
  end if;
  foreach changed in array ids loop
    perform from connections where id = changed for no key update;
    if found and (select count(*) from elements where connection_id = changed) <> 2 then
      raise exception 'connection % would not have exactly two ends', changed
      using errcode = 'TD002', constraint = 'connections_two_ends', table = 'connections';
    end if;
  end loop;
  return null;
end;
$$;


--
-- Name: combine_links(timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.combine_links(moment timestamp with time zone, OUT ran boolean, OUT written bigint, OUT pruned bigint) RETURNS record
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  step record;
  counted bigint;
begin
  written := 0;
  pruned := 0;
  ran := pg_try_advisory_xact_lock(465625312115);  -- "links"
  if not ran then
    return;
  end if;

  for step in
    select s.*
    from (
      values
      ('single', 10, '5minutes'), ('5minutes', 12, 'hour'), ('hour', 24, 'day'), ('day', 30, 'month'),
      ('month', 12, 'year'), ('year', 5, null)
    ) s (type, kept, longer)
  loop
    -- A period is combined once, 15 minutes after its end. A site that is being removed is left alone.
    with newest as (
      select m.site_a_id, m.site_b_id, max(m.end_at) as end_at
      from link_measurements m
      where m.type = step.longer
      group by m.site_a_id, m.site_b_id
    ),

    combined as (
      select
        m.site_a_id, m.site_b_id, usage_period_end(step.longer, m.end_at) as end_at,
        sum(m.measurements) as measurements,
        coalesce(sum(m.loss * m.measurements) / nullif(sum(m.measurements), 0)::float8, avg(m.loss)) as loss,
        coalesce(
          sum(m.delay_avg * w.weight) / nullif(sum(w.weight), 0), avg(m.delay_avg)
        ) as delay_avg,
        coalesce(
          sum(m.delay_stddev * w.weight) / nullif(sum(w.weight), 0), avg(m.delay_stddev)
        ) as delay_stddev
      from link_measurements m
      left join newest n on n.site_a_id = m.site_a_id and n.site_b_id = m.site_b_id
      cross join lateral (values (m.measurements * (1 - m.loss))) w (weight)
      where m.type = step.type and m.end_at > coalesce(n.end_at, '-infinity')
      group by m.site_a_id, m.site_b_id, usage_period_end(step.longer, m.end_at)
      having usage_period_end(step.longer, m.end_at) <= moment - interval '15 minutes'
    )

    insert into link_measurements (
      site_a_id, site_b_id, type, begin_at, end_at, measurements, loss, delay_avg, delay_stddev
    )
    select
      c.site_a_id, c.site_b_id, step.longer, usage_period_begin(step.longer, c.end_at), c.end_at, c.measurements,
      least(c.loss, 1), c.delay_avg, c.delay_stddev
    from combined c
    cross join lateral (
      select from sites a where a.id = c.site_a_id for key share skip locked
    ) site_a
    cross join lateral (
      select from sites b where b.id = c.site_b_id for key share skip locked
    ) site_b
    where step.longer is not null
    on conflict do nothing;
    get diagnostics counted = row_count;
    written := written + counted;

    -- Beyond the newest of each pair all go whose longer record is there. Measurements of a site that is being removed are
    -- passed over: waiting for them could deadlock with the removal.
    delete from link_measurements m
    where m.ctid = any(array(
      select held.ctid
      from (
        select
          r.ctid, r.site_a_id, r.site_b_id, r.end_at,
          row_number() over (partition by r.site_a_id, r.site_b_id order by r.end_at desc) as place
        from link_measurements r
        where r.type = step.type
      ) old
      left join (
        select n.site_a_id, n.site_b_id, max(n.end_at) as end_at
        from link_measurements n
        where n.type = step.longer
        group by n.site_a_id, n.site_b_id
      ) l on l.site_a_id = old.site_a_id and l.site_b_id = old.site_b_id
      cross join lateral (
        select r.ctid from link_measurements r where r.ctid = old.ctid for update skip locked
      ) held
      where old.place > step.kept and (step.longer is null or old.end_at <= l.end_at)
    ));
    get diagnostics counted = row_count;
    pruned := pruned + counted;
  end loop;
end;
$$;


--
-- Name: usage_run; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_run (
    id smallint DEFAULT 1 NOT NULL,
    moment public.instant NOT NULL,
    step integer NOT NULL,
    after_end public.instant NOT NULL,
    after_id bigint NOT NULL,
    settled_before public.instant,
    settled public.instant NOT NULL,
    ran_before public.instant,
    resumed public.instant,
    started public.instant,
    grown bigint[] NOT NULL,
    built bigint[] NOT NULL,
    reopened bigint[] NOT NULL,
    written bigint NOT NULL,
    pruned bigint NOT NULL,
    late bigint NOT NULL,
    CONSTRAINT usage_run_id_check CHECK ((id = 1))
);


--
-- Name: combine_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.combine_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  types constant text[] := '{5minutes,hour,day,month,year}';
  n constant integer := (run.step - 4) / 2;
  of_type constant text := types[n];
  longer_type constant text := types[n + 1];
  next_type constant text := types[n + 2];
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
  new_ids bigint[];
begin
  select coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(d.end_at), '{}'), count(*) into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where
      d.type = longer_type and d.end_at <= run.moment and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    with ready as (
      select d.usage_id, usage_period_begin(longer_type, d.end_at) as begin_at, d.end_at
      from unnest(due_ids, due_ends) d (usage_id, end_at)
      where
        d.end_at <= run.settled or (
          select count(*) * interval '5 minutes' from usage_records r
          where
            r.usage_id = d.usage_id and r.type = '5minutes' and r.end_at <= d.end_at
            and r.end_at > greatest(run.settled, usage_period_begin(longer_type, d.end_at))
        ) = d.end_at - greatest(run.settled, usage_period_begin(longer_type, d.end_at))
    ),

    summed as materialized (
      select r.*, f.*
      from ready r
      cross join lateral (
        select
          count(*) as found, sum(p.measurements::float8) as measurements, sum(p.traffic) as traffic,
          sum(p.cputime) as cputime,
          coalesce(sum(p.memory * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.memory)) as memory,
          coalesce(
            sum(p.diskspace * p.measurements) / nullif(sum(p.measurements::float8), 0), avg(p.diskspace)
          ) as diskspace
        from (
          select p.*
          from usage_records p
          where p.usage_id = r.usage_id and p.type = of_type and p.end_at > r.begin_at and p.end_at <= r.end_at
          order by p.end_at
        ) p
      ) f
    ),

    kept as materialized (
      select s.*
      from summed s
      cross join lateral (
        select from usage_statistics u where u.id = s.usage_id for key share skip locked
      ) present
      where s.found > 0
    ),

    combined as (
      insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
      select
        k.usage_id, longer_type, k.begin_at, k.end_at, k.measurements, k.memory, k.diskspace, k.traffic, k.cputime
      from kept k
      order by k.usage_id
      on conflict do nothing
    ),

    done as (
      delete from usage_due d
      using summed s
      left join kept k on k.usage_id = s.usage_id and k.end_at = s.end_at
      where
        d.type = longer_type and d.end_at = s.end_at and d.usage_id = s.usage_id
        and (s.found = 0 or k.usage_id is not null)
    ),

    longer as (
      insert into usage_due (type, end_at, usage_id)
      select distinct next_type, usage_period_end(next_type, k.end_at), k.usage_id
      from kept k
      where next_type is not null
      on conflict do nothing
    )

    select coalesce(array_agg(k.usage_id), '{}') into new_ids
    from kept k;
    run.written := run.written + cardinality(new_ids);
    run.built := run.built || new_ids;
  end if;
  if due = part then
    run.after_end := due_ends[due];
    run.after_id := due_ids[due];
    return run;
  end if;
  run.grown := array(select distinct u.id from unnest(run.grown || run.built || run.reopened) u (id) order by u.id);
  run := usage_step(run, run.step + 1);
  run.after_id := 0;
  return run;
end;
$$;


--
-- Name: elements; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.elements (
    id bigint NOT NULL,
    topology_id bigint NOT NULL,
    type text NOT NULL,
    state text DEFAULT 'created'::text NOT NULL,
    parent_id bigint,
    parent_type text GENERATED ALWAYS AS (
CASE type
    WHEN 'kvmqm_interface'::text THEN 'kvmqm'::text
    WHEN 'openvz_interface'::text THEN 'openvz'::text
    WHEN 'repy_interface'::text THEN 'repy'::text
    WHEN 'tinc_endpoint'::text THEN 'tinc_vpn'::text
    WHEN 'external_network_endpoint'::text THEN 'external_network'::text
    ELSE NULL::text
END) STORED,
    connection_id bigint,
    host_element_id bigint,
    site_id bigint,
    template_id bigint,
    profile_id bigint,
    network_id bigint,
    network_instance_id bigint,
    rextfv_started_at public.instant,
    next_sync_at public.instant,
    usage_id bigint DEFAULT public.new_usage_id(),
    sync_lease_until public.instant,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT elements_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT elements_connection_id_check CHECK (((connection_id IS NULL) OR (type = ANY (ARRAY['kvmqm_interface'::text, 'openvz_interface'::text, 'repy_interface'::text, 'tinc_endpoint'::text, 'external_network_endpoint'::text, 'udp_endpoint'::text])))),
    CONSTRAINT elements_parent_id_check CHECK (
CASE
    WHEN (type = ANY (ARRAY['kvmqm_interface'::text, 'openvz_interface'::text, 'repy_interface'::text])) THEN (parent_id IS NOT NULL)
    WHEN (type = ANY (ARRAY['tinc_endpoint'::text, 'external_network_endpoint'::text])) THEN true
    ELSE (parent_id IS NULL)
END),
    CONSTRAINT elements_state_check CHECK (((state = ANY (ARRAY['created'::text, 'prepared'::text, 'started'::text])) OR ((state = 'default'::text) AND (type = 'external_network_endpoint'::text)))),
    CONSTRAINT elements_type_check CHECK ((type = ANY (ARRAY['kvmqm'::text, 'kvmqm_interface'::text, 'openvz'::text, 'openvz_interface'::text, 'repy'::text, 'repy_interface'::text, 'tinc_vpn'::text, 'tinc_endpoint'::text, 'external_network'::text, 'external_network_endpoint'::text, 'udp_endpoint'::text])))
);


--
-- Name: connection_ends(bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.connection_ends(of_connection_id bigint) RETURNS TABLE(from_element_id bigint, to_element_id bigint)
    LANGUAGE sql STABLE ROWS 1
    BEGIN ATOMIC
 SELECT min(e.id) AS min,
     max(e.id) AS max
    FROM public.elements e
   WHERE (e.connection_id = connection_ends.of_connection_id);
END;


--
-- Name: count_removed_dumps(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.count_removed_dumps() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  update error_groups g set removed_dumps = g.removed_dumps + c.gone
  from (select r.group_id, count(*) as gone from removed r group by r.group_id) c
  where g.group_id = c.group_id;
  return null;
end;
$$;


--
-- Name: usage_progress; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_progress (
    id smallint DEFAULT 1 NOT NULL,
    settled_at public.instant NOT NULL,
    ran_at public.instant,
    resumed_at public.instant,
    CONSTRAINT usage_progress_id_check CHECK ((id = 1))
);


--
-- Name: usage_records; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_records (
    usage_id bigint NOT NULL,
    end_at public.instant NOT NULL,
    begin_at public.instant NOT NULL,
    memory double precision DEFAULT 0 NOT NULL,
    diskspace double precision DEFAULT 0 NOT NULL,
    traffic double precision DEFAULT 0 NOT NULL,
    cputime double precision DEFAULT 0 NOT NULL,
    measurements bigint DEFAULT 0 NOT NULL,
    type text NOT NULL,
    CONSTRAINT usage_records_end_at_check CHECK (((end_at)::timestamp with time zone >= (begin_at)::timestamp with time zone)),
    CONSTRAINT usage_records_measurements_check CHECK ((measurements >= 0)),
    CONSTRAINT usage_records_type_check CHECK ((type = ANY (ARRAY['5minutes'::text, 'hour'::text, 'day'::text, 'month'::text, 'year'::text])))
);


--
-- Name: current_usage(bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.current_usage(of_usage_id bigint) RETURNS SETOF public.usage_records
    LANGUAGE sql STABLE ROWS 1
    BEGIN ATOMIC
 SELECT r.usage_id,
     r.end_at,
     r.begin_at,
     r.memory,
     r.diskspace,
     r.traffic,
     r.cputime,
     r.measurements,
     r.type
    FROM public.usage_records r
   WHERE ((r.usage_id = current_usage.of_usage_id) AND (r.type = '5minutes'::text) AND ((r.end_at)::timestamp with time zone > (COALESCE((( SELECT p.settled_at
            FROM public.usage_progress p))::timestamp with time zone, '-infinity'::timestamp with time zone) - '00:05:00'::interval)))
   ORDER BY r.end_at DESC
  LIMIT 1;
END;


--
-- Name: drop_surplus_error_dumps(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.drop_surplus_error_dumps() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  update error_groups set removed_dumps = removed_dumps where group_id = new.group_id;
  delete from error_dumps d
  using surplus_error_dumps s
  where s.group_id = new.group_id and d.source = s.source and d.dump_id = s.dump_id;
  return null;
end;
$$;


--
-- Name: element_summary(bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.element_summary(of_topology_id bigint) RETURNS TABLE(state text, element_ids bigint[])
    LANGUAGE sql STABLE ROWS 1
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN bool_or((e.state = 'started'::text)) THEN 'started'::text
             WHEN bool_or((e.state = 'prepared'::text)) THEN 'prepared'::text
             ELSE 'created'::text
         END AS "case",
     COALESCE(array_agg(e.id ORDER BY e.id), '{}'::bigint[]) AS "coalesce"
    FROM public.elements e
   WHERE (e.topology_id = element_summary.of_topology_id);
END;


--
-- Name: find_due_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.find_due_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET enable_nestloop TO 'on'
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  depth constant integer := run.step + 6;
  up_to bigint;
begin
  select max(u.id) into up_to
  from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  if up_to is null then
    return usage_step(run, run.step + 1);
  end if;
  if run.step < -1 then
    with above as materialized (
      select
        u.usage_id,
        coalesce(
          (select max(r.end_at) from usage_records r where r.usage_id = u.usage_id and r.type = '5minutes'), '-infinity'
        ) as newest
      from (
        select distinct s.usage_id
        from usage_sources s
        where s.level = depth and s.usage_id > run.after_id and s.usage_id <= up_to
      ) u
    ),

    sources as materialized (
      select a.usage_id, a.newest, s.source_id
      from above a
      inner join usage_sources s on s.usage_id = a.usage_id
      where s.level = depth and s.usage_id > run.after_id and s.usage_id <= up_to and s.source_id is not null
    )

    insert into usage_due (type, end_at, usage_id)
    select '5minutes', usage_period_end('5minutes', w.end_at), s.usage_id
    from sources s
    cross join lateral (
      select r.end_at from usage_records r
      where r.usage_id = s.source_id and r.type = '5minutes' and r.end_at > s.newest
      offset 0
    ) w
    union
    select '5minutes', d.end_at, s.usage_id
    from sources s
    inner join usage_due d on d.usage_id = s.source_id
    where d.type = '5minutes' and d.end_at > s.newest
    on conflict do nothing;
  else
    insert into usage_due (type, end_at, usage_id)
    select distinct p.longer, usage_period_end(p.longer, w.end_at), u.id
    from (values ('5minutes', 'hour'), ('hour', 'day'), ('day', 'month'), ('month', 'year')) p (type, longer)
    cross join usage_statistics u
    cross join lateral (
      select r.end_at from usage_records r
      where
        r.usage_id = u.id and r.type = p.type
        and r.end_at > coalesce(
          (select max(l.end_at) from usage_records l where l.usage_id = u.id and l.type = p.longer), '-infinity'
        )
      offset 0
    ) w
    where
      u.id > run.after_id and u.id <= up_to
      and not exists (select from host_elements he where he.usage_id = u.id)
      and not exists (select from host_connections hc where hc.usage_id = u.id)
    on conflict do nothing;
  end if;
  run.after_id := up_to;
  return run;
end;
$$;


--
-- Name: hosts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.hosts (
    id bigint NOT NULL,
    name text NOT NULL,
    address text NOT NULL,
    rpcurl text NOT NULL,
    site_id bigint NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    availability double precision DEFAULT 1 NOT NULL,
    component_errors integer DEFAULT 0 NOT NULL,
    info jsonb DEFAULT '{}'::jsonb NOT NULL,
    info_at public.instant,
    element_types jsonb DEFAULT '{}'::jsonb NOT NULL,
    connection_types jsonb DEFAULT '{}'::jsonb NOT NULL,
    networks jsonb DEFAULT '[]'::jsonb NOT NULL,
    resources_synced_at public.instant,
    accounting_at public.instant,
    dumps_fetched_at public.instant,
    problem_since public.instant,
    problem_mailed_at public.instant,
    description_text text DEFAULT ''::text NOT NULL,
    usage_id bigint DEFAULT public.new_usage_id(),
    update_lease_until public.instant,
    sync_lease_until public.instant,
    problem_lease_until public.instant,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT hosts_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT hosts_availability_check CHECK (((availability >= (0)::double precision) AND (availability <= (1)::double precision))),
    CONSTRAINT hosts_component_errors_check CHECK ((component_errors >= 0)),
    CONSTRAINT hosts_name_check CHECK (((length(name) <= 255) AND (name !~ '/'::text)))
);


--
-- Name: host_after_update(public.hosts, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_after_update(h public.hosts, started_at timestamp with time zone) RETURNS TABLE(availability double precision, component_errors integer, problem_since timestamp with time zone)
    LANGUAGE sql STABLE ROWS 1 PARALLEL SAFE
    AS $$
  select
    case
      when h.enabled then h.availability * f.factor + case when s.problems = '{}' then 1 - f.factor else 0 end
      else h.availability
    end,
    case when h.enabled then h.component_errors / 2 else h.component_errors end,
    case
      when not h.enabled then h.problem_since
      when s.problems <> '{}' then coalesce(h.problem_since, now())
      when h.problem_mailed_at >= h.problem_since or h.problem_lease_until > now() then h.problem_since
    end
  from host_status(h, started_at, h.component_errors / 2) s
  cross join (
    select 0.5 ^ (select c.host_update_interval / c.availability_half_life::double precision from settings c) as factor
  ) f;
$$;


--
-- Name: host_number(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_number(reported text) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((length(reported) <= 500) AND (reported ~ '^[ \t\r\n]*[+]?[0-9]+([.][0-9]*)?([eE][+-]?[0-9]{1,2})?[ \t\r\n]*$'::text)) THEN CASE WHEN ((reported)::numeric < '10000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric) THEN (round((reported)::numeric, 100))::double precision ELSE NULL::double precision END ELSE NULL::double precision END;


--
-- Name: host_problem(text, boolean, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_problem(about text, broken boolean, said text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN broken THEN ((about || ': '::text) || said) WHEN (broken IS NULL) THEN (about || ': no number'::text) ELSE NULL::text END;


--
-- Name: host_score(integer, double precision, double precision, double precision, double precision, double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_score(component_errors integer, load double precision, elements double precision, avg_elements double precision, connections double precision, avg_connections double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((((('-25'::integer * component_errors))::double precision - ((100)::double precision * load)) - GREATEST(('-20'::integer)::double precision, LEAST((20)::double precision, COALESCE((((10)::double precision * (elements - avg_elements)) / NULLIF(avg_elements, (0)::double precision)), (0)::double precision)))) - GREATEST(('-10'::integer)::double precision, LEAST((10)::double precision, COALESCE((((10)::double precision * (connections - avg_connections)) / NULLIF(avg_connections, (0)::double precision)), (0)::double precision))));


--
-- Name: host_status(public.hosts, timestamp with time zone, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_status(h public.hosts, started_at timestamp with time zone, errors integer DEFAULT NULL::integer) RETURNS TABLE(problems text[], load double precision)
    LANGUAGE sql STABLE ROWS 1 PARALLEL SAFE
    AS $_$
  select
    case
      when not h.enabled then array['not enabled']
      when coalesce(
          greatest(h.info_at, started_at) < now() - seconds(300 + 2 * (select c.host_update_interval from settings c)), true
        ) then array['unreachable']
      when jsonb_typeof(h.info) <> 'object' or h.info = '{}' then array['no info']
      else array_remove(array[
        case
          when coalesce(
              greatest(h.resources_synced_at, started_at)
              < now() - seconds(300 + 2 * (select c.resource_sync_interval from settings c)),
              true
            )
            then format('resources: not synced for %s s', 300 + 2 * (select c.resource_sync_interval from settings c))
        end,
        host_problem('uptime', r.uptime < 600, 'less than 600 s'),
        host_problem('clock', r.time_diff > 300, 'off by more than 300 s'),
        host_problem('last query', r.query_time > 5, 'more than 5 s'),
        host_problem('CPUs', r.cpus = 0, 'none'),
        host_problem('bogomips', r.bogomips < 1000, 'less than 1000'),
        host_problem('loadavg', r.loadavg > coalesce(r.cpus, r.loadavg), 'more than CPUs'),
        host_problem('root disk', r.root_total - r.root_used < 1e6, 'less than 1e6 KiB free'),
        host_problem('data disk', r.data_total - r.data_used < 10e6, 'less than 10e6 KiB free'),
        host_problem('memory', r.memory_total - r.memory_used < 1e6, 'less than 1e6 KiB free'),
        host_problem('component errors', coalesce(errors, h.component_errors) > 2, 'more than 2'),
        case when h.info ? 'dumps' then host_problem('error dumps', r.dumps >= 100, '100 or more') end
      ], null) || array(
        select p.problem #>> '{}'
        from jsonb_path_query(h.info, '$.problems[*] ? (@ != null)') with ordinality as p (problem, n)
        order by p.n
      )
    end,
    case when r.load > 1 then 1 else r.load end
  from (
    select
      n.*,
      greatest(
        n.loadavg / nullif(n.cpus, 0), n.memory_used / nullif(n.memory_total, 0), n.data_used / nullif(n.data_total, 0)
      ) as load
    from (
      select
        host_number(h.info ->> 'uptime') as uptime,
        host_number(regexp_replace(h.info ->> 'time_diff', '^[ \t\r\n]*-', '')) as time_diff,
        host_number(h.info ->> 'query_time') as query_time,
        host_number(h.info ->> 'dumps') as dumps,
        host_number(h.info #>> '{resources,cpus_present,count}') as cpus,
        host_number(h.info #>> '{resources,cpus_present,bogomips_avg}') as bogomips,
        host_number(h.info #>> '{resources,loadavg,1}') as loadavg,
        host_number(h.info #>> '{resources,memory,total}') as memory_total,
        host_number(h.info #>> '{resources,memory,used}') as memory_used,
        host_number(h.info #>> '{resources,diskspace,root,total}') as root_total,
        host_number(h.info #>> '{resources,diskspace,root,used}') as root_used,
        host_number(h.info #>> '{resources,diskspace,data,total}') as data_total,
        host_number(h.info #>> '{resources,diskspace,data,used}') as data_used
      offset 0 -- so that each number is read once
    ) n
  ) r;
$_$;


--
-- Name: host_supports(public.hosts, text[], text[], text[]); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.host_supports(h public.hosts, element_types text[], connection_types text[], network_kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select
    h.connection_types ?& connection_types
    and h.element_types ?& array(
      select case t
        when 'tinc_endpoint' then 'tinc'
        when 'udp_endpoint' then 'udp_tunnel'
        when 'external_network_endpoint' then 'external_network'
        else t
      end
      from unnest(element_types) t
    )
    and not exists (
      select from unnest(network_kinds) wanted
      where not exists (
        select
        from network_instances i
        inner join networks n on n.id = i.network_id
        where i.host_id = h.id and (n.kind = wanted or starts_with(n.kind, wanted || '/'))
      )
    );
$$;


--
-- Name: largest_usage_records(bigint, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.largest_usage_records(of_usage_id bigint, since timestamp with time zone, until timestamp with time zone) RETURNS SETOF public.usage_records
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT r.usage_id,
     r.end_at,
     r.begin_at,
     r.memory,
     r.diskspace,
     r.traffic,
     r.cputime,
     r.measurements,
     r.type
    FROM public.usage_records r
   WHERE ((r.usage_id = largest_usage_records.of_usage_id) AND ((r.begin_at)::timestamp with time zone >= largest_usage_records.since) AND ((r.end_at)::timestamp with time zone <= largest_usage_records.until) AND (NOT (EXISTS ( SELECT
            FROM public.usage_records l
           WHERE ((l.usage_id = largest_usage_records.of_usage_id) AND ((l.begin_at)::timestamp with time zone >= largest_usage_records.since) AND ((l.end_at)::timestamp with time zone <= largest_usage_records.until) AND ((l.end_at)::timestamp with time zone > (r.begin_at)::timestamp with time zone) AND ((l.begin_at)::timestamp with time zone < (r.end_at)::timestamp with time zone) AND (array_position('{5minutes,hour,day,month,year}'::text[], l.type) > array_position('{5minutes,hour,day,month,year}'::text[], r.type)))))));
END;


--
-- Name: name_element(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.name_element() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  own_name text := new.type || new.id;
begin
  if new.parent_id is not null then
    perform from elements where id = new.parent_id for no key update;
    select 'eth' || min(n) into own_name
    from generate_series(0, (select count(*) from elements s where s.parent_id = new.parent_id)) n
    where not exists (select from elements s where s.parent_id = new.parent_id and s.attrs ->> 'name' = 'eth' || n);
  end if;
  new.attrs := new.attrs || jsonb_build_object('name', own_name);
  return new;
end;
$$;


--
-- Name: name_topology(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.name_topology() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  new.name := 'Topology #' || new.id;
  return new;
end;
$$;


--
-- Name: new_connection_attrs(jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.new_connection_attrs(given jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN ('{"emulation": true, "bandwidth_to": 10000, "bandwidth_from": 10000}'::jsonb || given);


--
-- Name: notify_of_component(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.notify_of_component() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  perform pg_notify('tomato_changes', format('%s %s state', tg_argv[0], new.topology_id));
  return null;
end;
$$;


--
-- Name: notify_of_topology(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.notify_of_topology() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  perform pg_notify('tomato_changes', format('topology %s %s', old.id, tg_argv[0]));
  return null;
end;
$$;


--
-- Name: place_element(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.place_element() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  select t.site_id into new.site_id from topologies t where t.id = new.topology_id;
  return new;
end;
$$;


--
-- Name: prune_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.prune_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  types constant text[] := '{5minutes,hour,day,month,year}';
  n constant integer := (run.step - 4) / 2;
  of_type constant text := types[n];
  longer_type constant text := types[n + 1];
  keep constant integer := ('{12,24,30,12,5}'::integer[])[n];
  month_begin constant timestamptz := usage_period_begin('month', usage_period_end('month', run.moment));
  after constant integer := run.after_id;  -- how many objects of the list are done
  counted bigint;
begin
  delete from usage_records r
  where r.type = of_type and r.ctid = any(array(
    select held.ctid
    from unnest(run.grown[after + 1 : after + part]) o (usage_id)
    cross join lateral (
      select r.end_at
      from usage_records r
      where r.usage_id = o.usage_id and r.type = of_type
      order by r.end_at desc
      offset keep
    ) old
    cross join lateral (
      select r.ctid from usage_records r
      where r.usage_id = o.usage_id and r.type = of_type and r.end_at = old.end_at
      for update skip locked
    ) held
    where old.end_at <= run.settled and (
      select d.end_at from usage_due d
      where d.type = longer_type and d.end_at = usage_period_end(longer_type, old.end_at) and d.usage_id = o.usage_id
    ) is null and (
      of_type <> '5minutes' or old.end_at <= coalesce(run.settled_before, 'infinity') or old.end_at <= month_begin or (
        select (select q.used_at from quotas q where q.user_id = u.id) from users u where u.usage_id = o.usage_id
      ) < old.end_at is not true
    )
  ));
  get diagnostics counted = row_count;
  run.pruned := run.pruned + counted;
  run.after_id := after + part;
  if run.after_id >= cardinality(run.grown) then
    run.grown := run.built;
    run.built := '{}';
    return usage_step(run, run.step + 1);
  end if;
  return run;
end;
$$;


--
-- Name: refuse_removal(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_removal() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  raise exception 'element % is %', old.id, old.state
  using errcode = 'TD001', constraint = 'elements_removable', table = 'elements';
end;
$$;


--
-- Name: remove_connections(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.remove_connections() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  delete from connections c using removed r where c.id = r.connection_id;
  return null;
end;
$$;


--
-- Name: remove_usage(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.remove_usage() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  delete from usage_statistics u using removed r where u.id = r.usage_id;
  return null;
end;
$$;


--
-- Name: reopen_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.reopen_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  up_to bigint;
begin
  if run.settled > run.settled_before + interval '5 minutes' then
    select max(u.id) into up_to
    from (select u.id from usage_statistics u where u.id > run.after_id order by u.id limit part) u;
  end if;
  if up_to is not null then
    run.reopened := run.reopened || array(
      select u.id
      from usage_statistics u
      where
        u.id > run.after_id and u.id <= up_to
        and (
          select r.end_at from usage_records r
          where r.usage_id = u.id and r.end_at > run.settled_before and r.end_at <= run.settled
          limit 1
        ) is not null
    );
    run.after_id := up_to;
    return run;
  end if;
  run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  return usage_step(run, 6);
end;
$$;


--
-- Name: roll_up_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.roll_up_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  due_ids bigint[];
  due_ends timestamptz[];
  due integer;
begin
  select coalesce(array_agg(d.usage_id), '{}'), coalesce(array_agg(d.end_at), '{}'), count(*) into due_ids, due_ends, due
  from (
    select d.usage_id, d.end_at
    from usage_due d
    where d.type = '5minutes' and (d.end_at, d.usage_id) > (run.after_end, run.after_id)
    order by d.end_at, d.usage_id
    limit part
  ) d;
  if due > 0 then
    run := roll_up_windows(run, run.step, 'due', due_ids, due_ends);
  end if;
  if due = part then
    run.after_end := due_ends[due];
    run.after_id := due_ids[due];
    return run;
  end if;
  -- Of what is due for an hour after it was settled, no source is there any more.
  if run.step = 4 then
    delete from usage_due d where d.type = '5minutes' and d.end_at <= run.settled - interval '1 hour';
  end if;
  return usage_step(run, run.step + 1);
end;
$$;


--
-- Name: roll_up_windows(public.usage_run, integer, text, bigint[], timestamp with time zone[]); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.roll_up_windows(run public.usage_run, depth integer, kind text, ids bigint[], ends timestamp with time zone[]) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  all_taken constant boolean := not exists (select from usage_arrivals);  -- mostly; then none is looked up
  new_ids bigint[];
  new_ends timestamptz[];
  late_records bigint;
begin
  with level as materialized (
    select s.usage_id, s.source_id
    from usage_sources s
    where s.level = depth and s.usage_id is not null and s.source_id is not null
  ),

  above as materialized (
    select
      g.*, g.end_at <= run.settled_before or (
        select r.end_at from usage_records r
        where r.usage_id = g.usage_id and r.type = '5minutes' and r.end_at = g.end_at
      ) is not null as is_closed
    from (
      select l.usage_id, n.end_at, array_agg(n.place) as places
      from (
        select u.usage_id, usage_period_end('5minutes', u.end_at) as end_at, u.place
        from unnest(ids, ends) with ordinality u (usage_id, end_at, place)
      ) n
      inner join level l on l.source_id = n.usage_id
      where kind <> 'due'
      group by l.usage_id, n.end_at
    ) g
  ),

  windows as materialized (
    select w.usage_id, w.end_at from unnest(ids, ends) w (usage_id, end_at) where kind = 'due'
    union all
    select a.usage_id, a.end_at from above a where a.is_closed is not true
  ),

  sources as (
    select w.usage_id, w.end_at, f.*
    from (
      select w.usage_id, w.end_at, l.source_id
      from windows w
      inner join level l on l.usage_id = w.usage_id
      where kind <> 'deferred'
      order by w.usage_id, w.end_at, l.source_id
    ) w
    cross join lateral (
      select
        count(*) as found, sum(r.measurements::float8) as measurements, sum(r.traffic) as traffic, sum(r.cputime) as cputime,
        sum(r.memory * date_part('epoch', r.end_at - r.begin_at) / 300) as memory,
        sum(r.diskspace * date_part('epoch', r.end_at - r.begin_at) / 300) as diskspace
      from (
        select r.*
        from usage_records r
        where
          r.usage_id = w.source_id and r.type = '5minutes'
          and r.end_at > w.end_at - interval '5 minutes' and r.end_at <= w.end_at
        order by r.end_at
      ) r
      where
        all_taken
        or (select a.end_at from usage_arrivals a where a.end_at = r.end_at and a.usage_id = r.usage_id) is null
    ) f
  ),

  ready as (
    select
      s.usage_id, s.end_at, sum(s.measurements) as measurements, sum(s.memory) as memory,
      sum(s.diskspace) as diskspace, sum(s.traffic) as traffic, sum(s.cputime) as cputime
    from sources s
    group by s.usage_id, s.end_at
    having min(s.found) > 0 or (kind = 'due' and s.end_at <= run.settled and sum(s.found) > 0)
  ),

  kept as materialized (
    select r.*
    from ready r
    cross join lateral (
      select from usage_statistics u where u.id = r.usage_id for key share skip locked
    ) present
  ),

  rolled_up as (
    insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
    select
      k.usage_id, '5minutes', k.end_at - interval '5 minutes', k.end_at, k.measurements, k.memory, k.diskspace,
      k.traffic, k.cputime
    from kept k
    order by k.usage_id
    on conflict do nothing
  ),

  done as (
    delete from usage_due d
    using kept k
    where d.type = '5minutes' and d.end_at = k.end_at and d.usage_id = k.usage_id
  ),

  waiting as (
    insert into usage_due (type, end_at, usage_id)
    select '5minutes', w.end_at, w.usage_id
    from windows w
    left join kept k on k.usage_id = w.usage_id and k.end_at = w.end_at
    where kind <> 'due' and k.usage_id is null
    on conflict do nothing
  ),

  longer as (
    insert into usage_due (type, end_at, usage_id)
    select h.type, h.end_at, h.usage_id
    from (
      select distinct 'hour' as type, usage_period_end('hour', k.end_at) as end_at, k.usage_id
      from kept k
    ) h
    left join usage_due d on d.type = h.type and d.end_at = h.end_at and d.usage_id = h.usage_id
    where d.usage_id is null
    on conflict do nothing
  )

  select
    coalesce(array_agg(k.usage_id), '{}'), coalesce(array_agg(k.end_at), '{}'),
    (select count(distinct p.place) from above a cross join lateral unnest(a.places) p (place) where a.is_closed)
  into new_ids, new_ends, late_records
  from kept k;
  run.late := run.late + late_records;
  run.written := run.written + cardinality(new_ids);
  run.grown := run.grown || new_ids;
  if new_ids <> '{}' and depth < 4 then
    run := roll_up_windows(run, depth + 1, 'new', new_ids, new_ends);
  end if;
  return run;
end;
$$;


--
-- Name: take_usage(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.take_usage(run public.usage_run, part integer) RETURNS public.usage_run
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  new_ids bigint[];
  new_ends timestamptz[];
begin
  with taken as (
    delete from usage_arrivals a
    where a.ctid = any(array(select b.ctid from usage_arrivals b order by b.end_at, b.usage_id limit part))
    returning a.usage_id, a.end_at
  )
  select coalesce(array_agg(t.usage_id), '{}'), coalesce(array_agg(t.end_at), '{}') into new_ids, new_ends
  from taken t;
  run.grown := run.grown || new_ids;
  if cardinality(run.grown) > 1000000 then
    run.grown := array(select distinct u.id from unnest(run.grown) u (id));
  end if;
  if new_ids <> '{}' then
    run := roll_up_windows(
      run, 1, case when cardinality(new_ids) = part then 'deferred' else 'new' end, new_ids, new_ends
    );
  end if;
  if cardinality(new_ids) = part then
    return run;
  end if;

  if run.moment < greatest(run.resumed, run.started) + interval '15 minutes' then
    run.settled := coalesce(run.settled_before, '0001-01-01 00:00:00+00');
  else
    run.settled := greatest(date_bin('5 minutes', run.moment - interval '15 minutes', 'epoch'), run.settled_before);
  end if;
  insert into usage_progress (settled_at, ran_at, resumed_at)
  values (run.settled, greatest(run.moment, run.ran_before), run.resumed)
  on conflict (id) do update
    set settled_at = excluded.settled_at, ran_at = excluded.ran_at, resumed_at = excluded.resumed_at;
  return usage_step(run, 1);
end;
$$;


--
-- Name: usage_beyond(double precision, double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_beyond(used double precision, free double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE
    RETURN COALESCE(NULLIF(GREATEST((0)::double precision, (used - free)), 'NaN'::double precision), (0)::double precision);


--
-- Name: usage_period_begin(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_period_begin(type text, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN CASE type WHEN '5minutes'::text THEN date_bin('00:05:00'::interval, (at - '00:00:00.000001'::interval), '1970-01-01 00:00:00+00'::timestamp with time zone) ELSE (date_trunc(type, ((at - '00:00:00.000001'::interval) AT TIME ZONE 'UTC'::text)) AT TIME ZONE 'UTC'::text) END;


--
-- Name: usage_period_end(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_period_end(type text, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN CASE type WHEN '5minutes'::text THEN (date_bin('00:05:00'::interval, (at - '00:00:00.000001'::interval), '1970-01-01 00:00:00+00'::timestamp with time zone) + '00:05:00'::interval) ELSE ((date_trunc(type, ((at - '00:00:00.000001'::interval) AT TIME ZONE 'UTC'::text)) + (('1 '::text || type))::interval) AT TIME ZONE 'UTC'::text) END;


--
-- Name: usage_step(public.usage_run, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_step(run public.usage_run, next integer) RETURNS public.usage_run
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  run.step := next;
  run.after_end := '0001-01-01 00:00:00+00';
  run.after_id := '-9223372036854775808';
  return run;
end;
$$;


--
-- Name: usage_total(bigint, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_total(of_usage_id bigint, since timestamp with time zone, until timestamp with time zone) RETURNS TABLE(begin_at timestamp with time zone, end_at timestamp with time zone, measurements bigint, memory double precision, diskspace double precision, traffic double precision, cputime double precision)
    LANGUAGE sql STABLE ROWS 1
    BEGIN ATOMIC
 SELECT min((r.begin_at)::timestamp with time zone) AS min,
     max((r.end_at)::timestamp with time zone) AS max,
     (sum(r.measurements))::bigint AS sum,
     COALESCE((sum((r.memory * (r.measurements)::double precision)) / (NULLIF(sum(r.measurements), (0)::numeric))::double precision), avg(r.memory)) AS "coalesce",
     COALESCE((sum((r.diskspace * (r.measurements)::double precision)) / (NULLIF(sum(r.measurements), (0)::numeric))::double precision), avg(r.diskspace)) AS "coalesce",
     sum(r.traffic) AS sum,
     sum(r.cputime) AS sum
    FROM public.largest_usage_records(usage_total.of_usage_id, usage_total.since, usage_total.until) r(usage_id, end_at, begin_at, memory, diskspace, traffic, cputime, measurements, type)
   GROUP BY r.usage_id;
END;


--
-- Name: connections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.connections (
    id bigint NOT NULL,
    topology_id bigint NOT NULL,
    type text DEFAULT 'bridge'::text NOT NULL,
    state text DEFAULT 'created'::text NOT NULL,
    host_connection1_id bigint,
    host_connection2_id bigint,
    host_element1_id bigint,
    host_element2_id bigint,
    usage_id bigint DEFAULT public.new_usage_id(),
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT connections_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT connections_state_check CHECK ((state = ANY (ARRAY['created'::text, 'started'::text])))
);


--
-- Name: connections_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.connections ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.connections_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: connections_two_ends; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.connections_two_ends AS
 SELECT c.id,
        CASE count(e.id)
            WHEN 1 THEN '1 end'::text
            ELSE (count(e.id) || ' ends'::text)
        END AS broken
   FROM (public.connections c
     LEFT JOIN public.elements e ON ((e.connection_id = c.id)))
  GROUP BY c.id
 HAVING (count(e.id) <> 2);


--
-- Name: VIEW connections_two_ends; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.connections_two_ends IS 'connections need exactly two ends';


--
-- Name: contacts; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.contacts AS
 SELECT id,
    organization_id,
    flags,
    json_build_array(id, name, origin, realname, email, ('nomails'::text = ANY (flags))) AS contact
   FROM public.users u;


--
-- Name: elements_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.elements ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.elements_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: error_dumps; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.error_dumps (
    source text NOT NULL,
    dump_id text NOT NULL,
    group_id text NOT NULL,
    at public.instant NOT NULL,
    description jsonb DEFAULT '{}'::jsonb NOT NULL,
    origin text DEFAULT ''::text NOT NULL,
    software_version jsonb DEFAULT '{}'::jsonb NOT NULL,
    data text,
    data_available boolean DEFAULT false NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT error_dumps_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text))
);


--
-- Name: error_groups; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.error_groups (
    group_id text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    removed_dumps bigint DEFAULT 0 NOT NULL,
    CONSTRAINT error_groups_removed_dumps_check CHECK ((removed_dumps >= 0))
);


--
-- Name: error_group_summaries; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.error_group_summaries AS
 SELECT g.group_id,
    g.description,
    g.removed_dumps,
    (g.removed_dumps + d.kept) AS count,
    d.last_at,
    d.sources,
    d.origins,
    d.versions,
    d.descriptions,
    d.data_available
   FROM (public.error_groups g
     CROSS JOIN LATERAL ( SELECT count(*) AS kept,
            max((d_1.at)::timestamp with time zone) AS last_at,
            COALESCE(array_agg(DISTINCT d_1.source), '{}'::text[]) AS sources,
            COALESCE(array_agg(DISTINCT d_1.origin), '{}'::text[]) AS origins,
            COALESCE(jsonb_agg(DISTINCT d_1.software_version), '[]'::jsonb) AS versions,
            COALESCE(jsonb_agg(DISTINCT d_1.description), '[]'::jsonb) AS descriptions,
            COALESCE(bool_or(d_1.data_available), false) AS data_available
           FROM public.error_dumps d_1
          WHERE (d_1.group_id = g.group_id)) d);


--
-- Name: host_connections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_connections (
    id bigint NOT NULL,
    host_id bigint NOT NULL,
    num bigint NOT NULL,
    element_id bigint,
    connection_id bigint,
    type text NOT NULL,
    state text NOT NULL,
    usage_id bigint DEFAULT public.new_usage_id(),
    orphan_lease_until public.instant,
    next_refresh_at public.instant DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    refresh_lease_until public.instant,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT host_connections_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT host_connections_element_id_check CHECK (((element_id IS NULL) OR (connection_id IS NULL)))
);


--
-- Name: host_connections_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.host_connections ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.host_connections_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: host_elements; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_elements (
    id bigint NOT NULL,
    host_id bigint NOT NULL,
    num bigint NOT NULL,
    element_id bigint,
    connection_id bigint,
    type text NOT NULL,
    state text NOT NULL,
    usage_id bigint DEFAULT public.new_usage_id(),
    orphan_lease_until public.instant,
    next_refresh_at public.instant DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    refresh_lease_until public.instant,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT host_elements_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT host_elements_element_id_check CHECK (((element_id IS NULL) OR (connection_id IS NULL)))
);


--
-- Name: host_elements_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.host_elements ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.host_elements_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: hosts_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.hosts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.hosts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: key_values; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.key_values (
    id bigint NOT NULL,
    key text NOT NULL,
    value jsonb NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT key_values_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text))
);


--
-- Name: key_values_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.key_values ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.key_values_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: link_measurements; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.link_measurements (
    site_a_id bigint NOT NULL,
    site_b_id bigint NOT NULL,
    end_at public.instant NOT NULL,
    begin_at public.instant NOT NULL,
    loss double precision NOT NULL,
    delay_avg double precision NOT NULL,
    delay_stddev double precision NOT NULL,
    measurements integer NOT NULL,
    type text NOT NULL,
    CONSTRAINT link_measurements_end_at_check CHECK (((end_at)::timestamp with time zone >= (begin_at)::timestamp with time zone)),
    CONSTRAINT link_measurements_loss_check CHECK (((loss >= (0)::double precision) AND (loss <= (1)::double precision))),
    CONSTRAINT link_measurements_measurements_check CHECK ((measurements >= 0)),
    CONSTRAINT link_measurements_site_a_id_check CHECK ((site_a_id <= site_b_id)),
    CONSTRAINT link_measurements_type_check CHECK ((type = ANY (ARRAY['single'::text, '5minutes'::text, 'hour'::text, 'day'::text, 'month'::text, 'year'::text])))
);


--
-- Name: migration_lock; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.migration_lock (
);


--
-- Name: TABLE migration_lock; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.migration_lock IS 'Locked, in share update exclusive mode, by the process that migrates.';


--
-- Name: resources_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.resources_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: network_instances; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.network_instances (
    id bigint DEFAULT nextval('public.resources_id_seq'::regclass) NOT NULL,
    network_id bigint,
    host_id bigint NOT NULL,
    bridge text NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT network_instances_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text))
);


--
-- Name: networks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.networks (
    id bigint DEFAULT nextval('public.resources_id_seq'::regclass) NOT NULL,
    kind text NOT NULL,
    preference integer DEFAULT 0 NOT NULL,
    label text DEFAULT ''::text NOT NULL,
    restricted boolean DEFAULT false NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT networks_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text))
);


--
-- Name: organizations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.organizations (
    id bigint NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    homepage_url text DEFAULT ''::text NOT NULL,
    image_url text DEFAULT ''::text NOT NULL,
    description_text text DEFAULT ''::text NOT NULL,
    usage_id bigint DEFAULT public.new_usage_id(),
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT organizations_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT organizations_name_check CHECK (((length(name) <= 50) AND (name !~ '/'::text)))
);


--
-- Name: organizations_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.organizations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.organizations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: profiles; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.profiles (
    id bigint DEFAULT nextval('public.resources_id_seq'::regclass) NOT NULL,
    tech text NOT NULL,
    name text NOT NULL,
    preference integer DEFAULT 0 NOT NULL,
    label text DEFAULT ''::text NOT NULL,
    restricted boolean DEFAULT false NOT NULL,
    ram double precision,
    cpus double precision,
    diskspace double precision,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT profiles_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT profiles_cpus_check CHECK (((cpus >= (0)::double precision) AND (cpus <= 'Infinity'::double precision))),
    CONSTRAINT profiles_diskspace_check CHECK (((diskspace >= (0)::double precision) AND (diskspace <= 'Infinity'::double precision))),
    CONSTRAINT profiles_ram_check CHECK (((ram >= (0)::double precision) AND (ram <= 'Infinity'::double precision))),
    CONSTRAINT profiles_tech_check CHECK ((tech = ANY (ARRAY['kvmqm'::text, 'openvz'::text, 'repy'::text])))
);


--
-- Name: quotas; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.quotas (
    user_id bigint NOT NULL,
    monthly_memory double precision DEFAULT '10000000000'::numeric NOT NULL,
    monthly_diskspace double precision DEFAULT '100000000000'::numeric NOT NULL,
    monthly_traffic double precision DEFAULT '1620000000000'::numeric NOT NULL,
    monthly_cputime double precision DEFAULT 12960000 NOT NULL,
    used_memory double precision DEFAULT 0 NOT NULL,
    used_diskspace double precision DEFAULT 0 NOT NULL,
    used_traffic double precision DEFAULT 0 NOT NULL,
    used_cputime double precision DEFAULT 0 NOT NULL,
    used_at public.instant DEFAULT now() NOT NULL,
    continuous_factor double precision DEFAULT 1 NOT NULL,
    CONSTRAINT quotas_continuous_factor_check CHECK (((continuous_factor >= (0)::double precision) AND (continuous_factor <= 'Infinity'::double precision))),
    CONSTRAINT quotas_monthly_cputime_check CHECK (((monthly_cputime >= (0)::double precision) AND (monthly_cputime <= 'Infinity'::double precision))),
    CONSTRAINT quotas_monthly_diskspace_check CHECK (((monthly_diskspace >= (0)::double precision) AND (monthly_diskspace <= 'Infinity'::double precision))),
    CONSTRAINT quotas_monthly_memory_check CHECK (((monthly_memory >= (0)::double precision) AND (monthly_memory <= 'Infinity'::double precision))),
    CONSTRAINT quotas_monthly_traffic_check CHECK (((monthly_traffic >= (0)::double precision) AND (monthly_traffic <= 'Infinity'::double precision))),
    CONSTRAINT quotas_used_cputime_check CHECK (((used_cputime >= (0)::double precision) AND (used_cputime <= 'Infinity'::double precision))),
    CONSTRAINT quotas_used_diskspace_check CHECK (((used_diskspace >= (0)::double precision) AND (used_diskspace <= 'Infinity'::double precision))),
    CONSTRAINT quotas_used_memory_check CHECK (((used_memory >= (0)::double precision) AND (used_memory <= 'Infinity'::double precision))),
    CONSTRAINT quotas_used_traffic_check CHECK (((used_traffic >= (0)::double precision) AND (used_traffic <= 'Infinity'::double precision)))
);


--
-- Name: templates; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.templates (
    id bigint DEFAULT nextval('public.resources_id_seq'::regclass) NOT NULL,
    tech text NOT NULL,
    name text NOT NULL,
    preference integer DEFAULT 0 NOT NULL,
    label text DEFAULT ''::text NOT NULL,
    subtype text DEFAULT ''::text NOT NULL,
    restricted boolean DEFAULT false NOT NULL,
    kblang text DEFAULT 'en-us'::text NOT NULL,
    torrent_data text DEFAULT ''::text NOT NULL,
    torrent_data_md5 text GENERATED ALWAYS AS (md5(torrent_data)) STORED NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT templates_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT templates_tech_check CHECK ((tech = ANY (ARRAY['kvmqm'::text, 'openvz'::text, 'repy'::text])))
);


--
-- Name: resources; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.resources AS
 SELECT tp.id,
    'template'::text AS type,
    (tp.attrs || jsonb_build_object('tech', tp.tech, 'name', tp.name, 'preference', tp.preference, 'label', tp.label, 'subtype', tp.subtype, 'restricted', tp.restricted, 'kblang', tp.kblang)) AS attrs
   FROM public.templates tp
UNION ALL
 SELECT pf.id,
    'profile'::text AS type,
    (pf.attrs || jsonb_build_object('tech', pf.tech, 'name', pf.name, 'preference', pf.preference, 'label', pf.label, 'restricted', pf.restricted, 'ram', pf.ram, 'cpus', pf.cpus, 'diskspace', pf.diskspace)) AS attrs
   FROM public.profiles pf
UNION ALL
 SELECT n.id,
    'network'::text AS type,
    (n.attrs || jsonb_build_object('kind', n.kind, 'preference', n.preference, 'label', n.label, 'restricted', n.restricted)) AS attrs
   FROM public.networks n
UNION ALL
 SELECT i.id,
    'network_instance'::text AS type,
    (i.attrs || jsonb_build_object('network', ( SELECT n.kind
           FROM public.networks n
          WHERE (n.id = i.network_id)), 'host', ( SELECT h.name
           FROM public.hosts h
          WHERE (h.id = i.host_id)), 'bridge', i.bridge)) AS attrs
   FROM public.network_instances i;


--
-- Name: resources_twice; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.resources_twice AS
 SELECT id,
    string_agg(type, ' and '::text ORDER BY type) AS broken
   FROM public.resources r
  GROUP BY id
 HAVING (count(*) > 1);


--
-- Name: VIEW resources_twice; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.resources_twice IS 'an id names one resource';


--
-- Name: schema_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schema_migrations (
    version character varying NOT NULL,
    sha256 text
);


--
-- Name: TABLE schema_migrations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.schema_migrations IS 'oldest supported schema version: 20261128150900';


--
-- Name: sites; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sites (
    id bigint NOT NULL,
    name text NOT NULL,
    organization_id bigint NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    location text DEFAULT ''::text NOT NULL,
    longitude double precision,
    latitude double precision,
    description_text text DEFAULT ''::text NOT NULL,
    attrs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT sites_attrs_check CHECK ((jsonb_typeof(attrs) = 'object'::text)),
    CONSTRAINT sites_latitude_check CHECK (((latitude >= ('-90'::integer)::double precision) AND (latitude <= (90)::double precision))),
    CONSTRAINT sites_longitude_check CHECK (((longitude >= ('-180'::integer)::double precision) AND (longitude <= (180)::double precision))),
    CONSTRAINT sites_name_check CHECK (((length(name) <= 50) AND (name !~ '/'::text)))
);


--
-- Name: sites_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.sites ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.sites_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: surplus_error_dumps; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.surplus_error_dumps AS
 SELECT source,
    dump_id,
    group_id
   FROM ( SELECT d.source,
            d.dump_id,
            d.group_id,
            row_number() OVER (PARTITION BY d.group_id ORDER BY d.at, d.source, d.dump_id) AS place,
            row_number() OVER (PARTITION BY d.group_id ORDER BY d.at DESC, d.source DESC, d.dump_id DESC) AS place_from_end
           FROM public.error_dumps d) r
  WHERE ((place > 5) AND (place_from_end > 5));


--
-- Name: tasks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tasks (
    name text NOT NULL,
    started_at public.instant NOT NULL,
    run_lease_until public.instant
);


--
-- Name: templates_on_hosts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.templates_on_hosts (
    host_id bigint NOT NULL,
    template_id bigint NOT NULL,
    ready boolean DEFAULT false NOT NULL,
    changed_at public.instant DEFAULT now() NOT NULL
);


--
-- Name: topologies_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.topologies ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.topologies_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: topology_roles; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.topology_roles AS
 SELECT t.id AS topology_id,
    u.id AS user_id,
    p.role AS explicit_role,
    (ARRAY['user'::text, 'manager'::text, 'owner'::text])[GREATEST(
        CASE
            WHEN ('global_topl_owner'::text = ANY (u.flags)) THEN 3
            WHEN ('global_topl_manager'::text = ANY (u.flags)) THEN 2
            WHEN ('global_topl_user'::text = ANY (u.flags)) THEN 1
            ELSE NULL::integer
        END, array_position(ARRAY['user'::text, 'manager'::text, 'owner'::text], p.role),
        CASE
            WHEN (NOT (u.flags && ARRAY['orga_topl_owner'::text, 'orga_topl_manager'::text, 'orga_topl_user'::text])) THEN NULL::integer
            WHEN (NOT (EXISTS ( SELECT
               FROM (public.topology_permissions op
                 JOIN public.users o ON ((o.id = op.user_id)))
              WHERE ((op.topology_id = t.id) AND (op.role = 'owner'::text) AND (o.organization_id = u.organization_id))
             OFFSET 0))) THEN NULL::integer
            WHEN ('orga_topl_owner'::text = ANY (u.flags)) THEN 3
            WHEN ('orga_topl_manager'::text = ANY (u.flags)) THEN 2
            ELSE 1
        END)] AS role
   FROM ((public.topologies t
     CROSS JOIN public.users u)
     LEFT JOIN public.topology_permissions p ON (((p.topology_id = t.id) AND (p.user_id = u.id))));


--
-- Name: topology_sources; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.topology_sources AS
 SELECT e.topology_id,
    e.usage_id
   FROM public.elements e
  WHERE ((e.host_element_id IS NOT NULL) OR (EXISTS ( SELECT
           FROM public.host_elements he
          WHERE (he.element_id = e.id))) OR (EXISTS ( SELECT
           FROM public.host_connections hc
          WHERE (hc.element_id = e.id))))
UNION ALL
 SELECT c.topology_id,
    c.usage_id
   FROM public.connections c
  WHERE ((COALESCE(c.host_connection1_id, c.host_connection2_id, c.host_element1_id, c.host_element2_id) IS NOT NULL) OR (EXISTS ( SELECT
           FROM public.host_elements he
          WHERE (he.connection_id = c.id))) OR (EXISTS ( SELECT
           FROM public.host_connections hc
          WHERE (hc.connection_id = c.id))));


--
-- Name: usage_arrivals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_arrivals (
    end_at public.instant NOT NULL,
    usage_id bigint NOT NULL
);


--
-- Name: usage_due; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_due (
    type text NOT NULL,
    end_at public.instant NOT NULL,
    usage_id bigint NOT NULL,
    CONSTRAINT usage_due_type_check CHECK ((type = ANY (ARRAY['5minutes'::text, 'hour'::text, 'day'::text, 'month'::text, 'year'::text])))
);


--
-- Name: usage_sources; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.usage_sources AS
 SELECT 1 AS level,
    e.usage_id,
    he.usage_id AS source_id
   FROM (public.host_elements he
     JOIN public.elements e ON ((e.id = he.element_id)))
UNION ALL
 SELECT 1 AS level,
    e.usage_id,
    hc.usage_id AS source_id
   FROM (public.host_connections hc
     JOIN public.elements e ON ((e.id = hc.element_id)))
UNION ALL
 SELECT 1 AS level,
    e.usage_id,
    he.usage_id AS source_id
   FROM (public.elements e
     JOIN public.host_elements he ON ((he.id = e.host_element_id)))
  WHERE (he.element_id IS DISTINCT FROM e.id)
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    he.usage_id AS source_id
   FROM (public.host_elements he
     JOIN public.connections c ON ((c.id = he.connection_id)))
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    hc.usage_id AS source_id
   FROM (public.host_connections hc
     JOIN public.connections c ON ((c.id = hc.connection_id)))
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    he.usage_id AS source_id
   FROM (public.connections c
     JOIN public.host_elements he ON ((he.id = c.host_element1_id)))
  WHERE (he.connection_id IS DISTINCT FROM c.id)
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    he.usage_id AS source_id
   FROM (public.connections c
     JOIN public.host_elements he ON ((he.id = c.host_element2_id)))
  WHERE ((he.connection_id IS DISTINCT FROM c.id) AND (c.host_element2_id IS DISTINCT FROM c.host_element1_id))
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    hc.usage_id AS source_id
   FROM (public.connections c
     JOIN public.host_connections hc ON ((hc.id = c.host_connection1_id)))
  WHERE (hc.connection_id IS DISTINCT FROM c.id)
UNION ALL
 SELECT 1 AS level,
    c.usage_id,
    hc.usage_id AS source_id
   FROM (public.connections c
     JOIN public.host_connections hc ON ((hc.id = c.host_connection2_id)))
  WHERE ((hc.connection_id IS DISTINCT FROM c.id) AND (c.host_connection2_id IS DISTINCT FROM c.host_connection1_id))
UNION ALL
 SELECT 1 AS level,
    h.usage_id,
    he.usage_id AS source_id
   FROM (public.host_elements he
     JOIN public.hosts h ON ((h.id = he.host_id)))
  WHERE h.enabled
UNION ALL
 SELECT 1 AS level,
    h.usage_id,
    hc.usage_id AS source_id
   FROM (public.host_connections hc
     JOIN public.hosts h ON ((h.id = hc.host_id)))
  WHERE h.enabled
UNION ALL
 SELECT 2 AS level,
    t.usage_id,
    s.usage_id AS source_id
   FROM (public.topologies t
     JOIN public.topology_sources s ON ((s.topology_id = t.id)))
UNION ALL
 SELECT 3 AS level,
    u.usage_id,
    t.usage_id AS source_id
   FROM ((public.topology_permissions p
     JOIN public.users u ON ((u.id = p.user_id)))
     JOIN public.topologies t ON ((t.id = p.topology_id)))
  WHERE ((p.role = 'owner'::text) AND (EXISTS ( SELECT
           FROM public.topology_sources s
          WHERE (s.topology_id = t.id))))
UNION ALL
 SELECT 4 AS level,
    o.usage_id,
    u.usage_id AS source_id
   FROM (public.users u
     JOIN public.organizations o ON ((o.id = u.organization_id)))
  WHERE (EXISTS ( SELECT
           FROM (public.topology_permissions p
             JOIN public.topology_sources s ON ((s.topology_id = p.topology_id)))
          WHERE ((p.user_id = u.id) AND (p.role = 'owner'::text))));


--
-- Name: usage_statistics_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.usage_statistics ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.usage_statistics_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: users_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: connections connections_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_pkey PRIMARY KEY (id);


--
-- Name: connections connections_topology_id_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_topology_id_id_key UNIQUE (topology_id, id);


--
-- Name: connections connections_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_usage_id_key UNIQUE (usage_id);


--
-- Name: elements elements_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_pkey PRIMARY KEY (id);


--
-- Name: elements elements_topology_id_id_type_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_topology_id_id_type_key UNIQUE (topology_id, id, type);


--
-- Name: elements elements_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_usage_id_key UNIQUE (usage_id);


--
-- Name: error_dumps error_dumps_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.error_dumps
    ADD CONSTRAINT error_dumps_pkey PRIMARY KEY (source, dump_id);


--
-- Name: error_groups error_groups_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.error_groups
    ADD CONSTRAINT error_groups_pkey PRIMARY KEY (group_id);


--
-- Name: host_connections host_connections_host_id_num_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_host_id_num_key UNIQUE (host_id, num);


--
-- Name: host_connections host_connections_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_pkey PRIMARY KEY (id);


--
-- Name: host_connections host_connections_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_usage_id_key UNIQUE (usage_id);


--
-- Name: host_elements host_elements_host_id_num_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_host_id_num_key UNIQUE (host_id, num);


--
-- Name: host_elements host_elements_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_pkey PRIMARY KEY (id);


--
-- Name: host_elements host_elements_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_usage_id_key UNIQUE (usage_id);


--
-- Name: hosts hosts_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_name_key UNIQUE (name);


--
-- Name: hosts hosts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_pkey PRIMARY KEY (id);


--
-- Name: hosts hosts_rpcurl_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_rpcurl_key UNIQUE (rpcurl);


--
-- Name: hosts hosts_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_usage_id_key UNIQUE (usage_id);


--
-- Name: key_values key_values_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.key_values
    ADD CONSTRAINT key_values_key_key UNIQUE (key);


--
-- Name: key_values key_values_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.key_values
    ADD CONSTRAINT key_values_pkey PRIMARY KEY (id);


--
-- Name: link_measurements link_measurements_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.link_measurements
    ADD CONSTRAINT link_measurements_pkey PRIMARY KEY (site_a_id, site_b_id, type, end_at);


--
-- Name: network_instances network_instances_host_id_bridge_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.network_instances
    ADD CONSTRAINT network_instances_host_id_bridge_key UNIQUE (host_id, bridge);


--
-- Name: network_instances network_instances_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.network_instances
    ADD CONSTRAINT network_instances_pkey PRIMARY KEY (id);


--
-- Name: networks networks_kind_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.networks
    ADD CONSTRAINT networks_kind_key UNIQUE (kind);


--
-- Name: networks networks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.networks
    ADD CONSTRAINT networks_pkey PRIMARY KEY (id);


--
-- Name: organizations organizations_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_name_key UNIQUE (name);


--
-- Name: organizations organizations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);


--
-- Name: organizations organizations_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_usage_id_key UNIQUE (usage_id);


--
-- Name: profiles profiles_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_pkey PRIMARY KEY (id);


--
-- Name: profiles profiles_tech_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_tech_name_key UNIQUE (tech, name);


--
-- Name: quotas quotas_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.quotas
    ADD CONSTRAINT quotas_pkey PRIMARY KEY (user_id);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);


--
-- Name: settings settings_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (id);


--
-- Name: sites sites_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sites
    ADD CONSTRAINT sites_name_key UNIQUE (name);


--
-- Name: sites sites_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sites
    ADD CONSTRAINT sites_pkey PRIMARY KEY (id);


--
-- Name: tasks tasks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (name);


--
-- Name: templates_on_hosts templates_on_hosts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates_on_hosts
    ADD CONSTRAINT templates_on_hosts_pkey PRIMARY KEY (host_id, template_id);


--
-- Name: templates templates_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (id);


--
-- Name: templates templates_tech_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_tech_name_key UNIQUE (tech, name);


--
-- Name: topologies topologies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topologies
    ADD CONSTRAINT topologies_pkey PRIMARY KEY (id);


--
-- Name: topologies topologies_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topologies
    ADD CONSTRAINT topologies_usage_id_key UNIQUE (usage_id);


--
-- Name: topology_permissions topology_permissions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topology_permissions
    ADD CONSTRAINT topology_permissions_pkey PRIMARY KEY (topology_id, user_id);


--
-- Name: usage_arrivals usage_arrivals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_arrivals
    ADD CONSTRAINT usage_arrivals_pkey PRIMARY KEY (end_at, usage_id);


--
-- Name: usage_due usage_due_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_due
    ADD CONSTRAINT usage_due_pkey PRIMARY KEY (type, end_at, usage_id);


--
-- Name: usage_progress usage_progress_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_progress
    ADD CONSTRAINT usage_progress_pkey PRIMARY KEY (id);


--
-- Name: usage_records usage_records_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_pkey PRIMARY KEY (usage_id, type, end_at);


--
-- Name: usage_run usage_run_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_run
    ADD CONSTRAINT usage_run_pkey PRIMARY KEY (id);


--
-- Name: usage_statistics usage_statistics_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_statistics
    ADD CONSTRAINT usage_statistics_pkey PRIMARY KEY (id);


--
-- Name: users users_name_origin_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_name_origin_key UNIQUE (name, origin);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: users users_usage_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_usage_id_key UNIQUE (usage_id);


--
-- Name: connections_host_connection1_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX connections_host_connection1_id_idx ON public.connections USING btree (host_connection1_id);


--
-- Name: connections_host_connection2_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX connections_host_connection2_id_idx ON public.connections USING btree (host_connection2_id);


--
-- Name: connections_host_element1_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX connections_host_element1_id_idx ON public.connections USING btree (host_element1_id);


--
-- Name: connections_host_element2_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX connections_host_element2_id_idx ON public.connections USING btree (host_element2_id);


--
-- Name: elements_connection_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_connection_id_idx ON public.elements USING btree (connection_id, topology_id);


--
-- Name: elements_host_element_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_host_element_id_idx ON public.elements USING btree (host_element_id);


--
-- Name: elements_network_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_network_id_idx ON public.elements USING btree (network_id);


--
-- Name: elements_network_instance_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_network_instance_id_idx ON public.elements USING btree (network_instance_id);


--
-- Name: elements_parent_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_parent_id_idx ON public.elements USING btree (parent_id, topology_id, parent_type);


--
-- Name: elements_profile_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_profile_id_idx ON public.elements USING btree (profile_id);


--
-- Name: elements_site_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_site_id_idx ON public.elements USING btree (site_id);


--
-- Name: elements_sync_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_sync_turn_idx ON public.elements USING btree (GREATEST(next_sync_at, sync_lease_until)) WHERE (next_sync_at IS NOT NULL);


--
-- Name: elements_template_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX elements_template_id_idx ON public.elements USING btree (template_id);


--
-- Name: error_dumps_group_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX error_dumps_group_id_idx ON public.error_dumps USING btree (group_id, at);


--
-- Name: host_connections_connection_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_connections_connection_id_idx ON public.host_connections USING btree (connection_id);


--
-- Name: host_connections_element_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_connections_element_id_idx ON public.host_connections USING btree (element_id);


--
-- Name: host_connections_host_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_connections_host_id_idx ON public.host_connections USING btree (host_id, id);


--
-- Name: host_connections_orphan_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_connections_orphan_turn_idx ON public.host_connections USING btree (COALESCE((orphan_lease_until)::timestamp with time zone, '-infinity'::timestamp with time zone), id) WHERE ((element_id IS NULL) AND (connection_id IS NULL));


--
-- Name: host_connections_refresh_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_connections_refresh_turn_idx ON public.host_connections USING btree (GREATEST(next_refresh_at, refresh_lease_until)) WHERE ((element_id IS NOT NULL) OR (connection_id IS NOT NULL));


--
-- Name: host_elements_connection_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_elements_connection_id_idx ON public.host_elements USING btree (connection_id);


--
-- Name: host_elements_element_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_elements_element_id_idx ON public.host_elements USING btree (element_id);


--
-- Name: host_elements_host_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_elements_host_id_idx ON public.host_elements USING btree (host_id, id);


--
-- Name: host_elements_orphan_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_elements_orphan_turn_idx ON public.host_elements USING btree (COALESCE((orphan_lease_until)::timestamp with time zone, '-infinity'::timestamp with time zone), id) WHERE ((element_id IS NULL) AND (connection_id IS NULL));


--
-- Name: host_elements_refresh_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_elements_refresh_turn_idx ON public.host_elements USING btree (GREATEST(next_refresh_at, refresh_lease_until)) WHERE ((element_id IS NOT NULL) OR (connection_id IS NOT NULL));


--
-- Name: hosts_problem_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX hosts_problem_turn_idx ON public.hosts USING btree (GREATEST(problem_since, problem_lease_until)) WHERE (problem_since IS NOT NULL);


--
-- Name: hosts_site_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX hosts_site_id_idx ON public.hosts USING btree (site_id);


--
-- Name: hosts_sync_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX hosts_sync_turn_idx ON public.hosts USING btree (COALESCE((GREATEST(resources_synced_at, sync_lease_until))::timestamp with time zone, '-infinity'::timestamp with time zone)) WHERE enabled;


--
-- Name: hosts_update_turn_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX hosts_update_turn_idx ON public.hosts USING btree (COALESCE((GREATEST(info_at, update_lease_until))::timestamp with time zone, '-infinity'::timestamp with time zone)) WHERE enabled;


--
-- Name: link_measurements_site_b_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX link_measurements_site_b_id_idx ON public.link_measurements USING btree (site_b_id);


--
-- Name: network_instances_network_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX network_instances_network_id_idx ON public.network_instances USING btree (network_id);


--
-- Name: networks_kind_prefix_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX networks_kind_prefix_idx ON public.networks USING btree (kind COLLATE "C");


--
-- Name: profiles_preference_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX profiles_preference_idx ON public.profiles USING btree (tech, preference DESC, id);


--
-- Name: sites_organization_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sites_organization_id_idx ON public.sites USING btree (organization_id);


--
-- Name: templates_on_hosts_template_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX templates_on_hosts_template_id_idx ON public.templates_on_hosts USING btree (template_id, ready);


--
-- Name: templates_preference_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX templates_preference_idx ON public.templates USING btree (tech, preference DESC, id);


--
-- Name: topologies_site_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX topologies_site_id_idx ON public.topologies USING btree (site_id);


--
-- Name: topologies_timeout_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX topologies_timeout_at_idx ON public.topologies USING btree (timeout_step, timeout_at) WHERE (timeout_step < 20);


--
-- Name: topology_permissions_user_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX topology_permissions_user_id_idx ON public.topology_permissions USING btree (user_id, role);


--
-- Name: users_flags_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX users_flags_idx ON public.users USING gin (flags);


--
-- Name: users_last_login_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX users_last_login_at_idx ON public.users USING btree (origin, last_login_at);


--
-- Name: users_organization_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX users_organization_id_idx ON public.users USING btree (organization_id);


--
-- Name: users_password_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX users_password_at_idx ON public.users USING btree (origin, password_at) WHERE (password_hash IS NOT NULL);


--
-- Name: connections connections_state_changed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER connections_state_changed AFTER UPDATE ON public.connections FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION public.notify_of_component('connection');


--
-- Name: connections connections_two_ends; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER connections_two_ends AFTER INSERT ON public.connections DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.check_two_ends();


--
-- Name: connections connections_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER connections_usage_removed AFTER DELETE ON public.connections REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: elements elements_connections_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_connections_removed AFTER DELETE ON public.elements REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_connections();


--
-- Name: elements elements_inserted_two_ends; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER elements_inserted_two_ends AFTER INSERT ON public.elements DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.connection_id IS NOT NULL)) EXECUTE FUNCTION public.check_two_ends();


--
-- Name: elements elements_named; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_named BEFORE INSERT ON public.elements FOR EACH ROW WHEN (((COALESCE((new.attrs ->> 'name'::text), ''::text) = ''::text) AND (new.type !~ '_endpoint$'::text))) EXECUTE FUNCTION public.name_element();


--
-- Name: elements elements_placed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_placed BEFORE INSERT ON public.elements FOR EACH ROW WHEN (((new.site_id IS NULL) AND (new.type = ANY (ARRAY['kvmqm'::text, 'openvz'::text, 'repy'::text])))) EXECUTE FUNCTION public.place_element();


--
-- Name: elements elements_removable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_removable BEFORE DELETE ON public.elements FOR EACH ROW WHEN ((NOT ((old.state = 'created'::text) OR ((old.state = 'prepared'::text) AND (old.type = ANY (ARRAY['kvmqm_interface'::text, 'openvz_interface'::text, 'repy_interface'::text])))))) EXECUTE FUNCTION public.refuse_removal();


--
-- Name: elements elements_state_changed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_state_changed AFTER UPDATE ON public.elements FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION public.notify_of_component('element');


--
-- Name: elements elements_updated_two_ends; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER elements_updated_two_ends AFTER UPDATE OF connection_id ON public.elements DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.connection_id IS DISTINCT FROM new.connection_id)) EXECUTE FUNCTION public.check_two_ends();


--
-- Name: elements elements_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER elements_usage_removed AFTER DELETE ON public.elements REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: error_dumps error_dumps_counted; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER error_dumps_counted AFTER DELETE ON public.error_dumps REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.count_removed_dumps();


--
-- Name: error_dumps error_dumps_kept; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER error_dumps_kept AFTER INSERT ON public.error_dumps FOR EACH ROW EXECUTE FUNCTION public.drop_surplus_error_dumps();


--
-- Name: host_connections host_connections_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER host_connections_usage_removed AFTER DELETE ON public.host_connections REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: host_elements host_elements_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER host_elements_usage_removed AFTER DELETE ON public.host_elements REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: hosts hosts_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER hosts_usage_removed AFTER DELETE ON public.hosts REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: organizations organizations_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER organizations_usage_removed AFTER DELETE ON public.organizations REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: network_instances resources_twice; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER resources_twice AFTER INSERT OR UPDATE OF id ON public.network_instances NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION public.check_resource_id();


--
-- Name: networks resources_twice; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER resources_twice AFTER INSERT OR UPDATE OF id ON public.networks NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION public.check_resource_id();


--
-- Name: profiles resources_twice; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER resources_twice AFTER INSERT OR UPDATE OF id ON public.profiles NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION public.check_resource_id();


--
-- Name: templates resources_twice; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER resources_twice AFTER INSERT OR UPDATE OF id ON public.templates NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION public.check_resource_id();


--
-- Name: topologies topologies_deleted; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topologies_deleted AFTER DELETE ON public.topologies FOR EACH ROW EXECUTE FUNCTION public.notify_of_topology('deleted');


--
-- Name: topologies topologies_named; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topologies_named BEFORE INSERT ON public.topologies FOR EACH ROW WHEN ((new.name = ''::text)) EXECUTE FUNCTION public.name_topology();


--
-- Name: topologies topologies_state_changed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topologies_state_changed AFTER UPDATE ON public.topologies FOR EACH ROW WHEN ((old.timeout_step IS DISTINCT FROM new.timeout_step)) EXECUTE FUNCTION public.notify_of_topology('state');


--
-- Name: topologies topologies_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topologies_usage_removed AFTER DELETE ON public.topologies REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: topology_permissions topology_permissions_owner_lowered; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topology_permissions_owner_lowered AFTER UPDATE ON public.topology_permissions FOR EACH ROW WHEN (((old.role = 'owner'::text) AND ((new.role <> 'owner'::text) OR (new.topology_id <> old.topology_id)))) EXECUTE FUNCTION public.check_last_owner();


--
-- Name: topology_permissions topology_permissions_owner_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER topology_permissions_owner_removed AFTER DELETE ON public.topology_permissions FOR EACH ROW WHEN ((old.role = 'owner'::text)) EXECUTE FUNCTION public.check_last_owner();


--
-- Name: users users_flags_inserted; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER users_flags_inserted AFTER INSERT ON public.users FOR EACH ROW WHEN ((new.flags <> '{}'::text[])) EXECUTE FUNCTION public.check_flags();


--
-- Name: users users_flags_updated; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER users_flags_updated AFTER UPDATE OF flags ON public.users FOR EACH ROW WHEN ((new.flags IS DISTINCT FROM old.flags)) EXECUTE FUNCTION public.check_flags();


--
-- Name: users users_usage_removed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER users_usage_removed AFTER DELETE ON public.users REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.remove_usage();


--
-- Name: connections connections_host_connection1_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_host_connection1_id_fkey FOREIGN KEY (host_connection1_id) REFERENCES public.host_connections(id) ON DELETE SET NULL;


--
-- Name: connections connections_host_connection2_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_host_connection2_id_fkey FOREIGN KEY (host_connection2_id) REFERENCES public.host_connections(id) ON DELETE SET NULL;


--
-- Name: connections connections_host_element1_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_host_element1_id_fkey FOREIGN KEY (host_element1_id) REFERENCES public.host_elements(id) ON DELETE SET NULL;


--
-- Name: connections connections_host_element2_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_host_element2_id_fkey FOREIGN KEY (host_element2_id) REFERENCES public.host_elements(id) ON DELETE SET NULL;


--
-- Name: connections connections_topology_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_topology_id_fkey FOREIGN KEY (topology_id) REFERENCES public.topologies(id) ON DELETE CASCADE;


--
-- Name: connections connections_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: elements elements_connection_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_connection_id_fkey FOREIGN KEY (topology_id, connection_id) REFERENCES public.connections(topology_id, id) ON DELETE SET NULL (connection_id);


--
-- Name: elements elements_host_element_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_host_element_id_fkey FOREIGN KEY (host_element_id) REFERENCES public.host_elements(id) ON DELETE SET NULL;


--
-- Name: elements elements_network_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_network_id_fkey FOREIGN KEY (network_id) REFERENCES public.networks(id) ON DELETE SET NULL;


--
-- Name: elements elements_network_instance_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_network_instance_id_fkey FOREIGN KEY (network_instance_id) REFERENCES public.network_instances(id) ON DELETE SET NULL;


--
-- Name: elements elements_parent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_parent_id_fkey FOREIGN KEY (topology_id, parent_id, parent_type) REFERENCES public.elements(topology_id, id, type) ON DELETE CASCADE;


--
-- Name: elements elements_profile_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_profile_id_fkey FOREIGN KEY (profile_id) REFERENCES public.profiles(id) ON DELETE SET NULL;


--
-- Name: elements elements_site_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.sites(id) ON DELETE SET NULL;


--
-- Name: elements elements_template_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id) ON DELETE SET NULL;


--
-- Name: elements elements_topology_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_topology_id_fkey FOREIGN KEY (topology_id) REFERENCES public.topologies(id) ON DELETE CASCADE;


--
-- Name: elements elements_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.elements
    ADD CONSTRAINT elements_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: error_dumps error_dumps_group_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.error_dumps
    ADD CONSTRAINT error_dumps_group_id_fkey FOREIGN KEY (group_id) REFERENCES public.error_groups(group_id);


--
-- Name: host_connections host_connections_connection_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES public.connections(id) ON DELETE SET NULL;


--
-- Name: host_connections host_connections_element_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_element_id_fkey FOREIGN KEY (element_id) REFERENCES public.elements(id) ON DELETE SET NULL;


--
-- Name: host_connections host_connections_host_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);


--
-- Name: host_connections host_connections_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_connections
    ADD CONSTRAINT host_connections_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: host_elements host_elements_connection_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES public.connections(id) ON DELETE SET NULL;


--
-- Name: host_elements host_elements_element_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_element_id_fkey FOREIGN KEY (element_id) REFERENCES public.elements(id) ON DELETE SET NULL;


--
-- Name: host_elements host_elements_host_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id);


--
-- Name: host_elements host_elements_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_elements
    ADD CONSTRAINT host_elements_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: hosts hosts_site_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.sites(id);


--
-- Name: hosts hosts_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: link_measurements link_measurements_site_a_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.link_measurements
    ADD CONSTRAINT link_measurements_site_a_id_fkey FOREIGN KEY (site_a_id) REFERENCES public.sites(id) ON DELETE CASCADE;


--
-- Name: link_measurements link_measurements_site_b_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.link_measurements
    ADD CONSTRAINT link_measurements_site_b_id_fkey FOREIGN KEY (site_b_id) REFERENCES public.sites(id) ON DELETE CASCADE;


--
-- Name: network_instances network_instances_host_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.network_instances
    ADD CONSTRAINT network_instances_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id) ON DELETE CASCADE;


--
-- Name: network_instances network_instances_network_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.network_instances
    ADD CONSTRAINT network_instances_network_id_fkey FOREIGN KEY (network_id) REFERENCES public.networks(id) ON DELETE SET NULL;


--
-- Name: organizations organizations_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: quotas quotas_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.quotas
    ADD CONSTRAINT quotas_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: sites sites_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sites
    ADD CONSTRAINT sites_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id);


--
-- Name: templates_on_hosts templates_on_hosts_host_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates_on_hosts
    ADD CONSTRAINT templates_on_hosts_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.hosts(id) ON DELETE CASCADE;


--
-- Name: templates_on_hosts templates_on_hosts_template_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates_on_hosts
    ADD CONSTRAINT templates_on_hosts_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id) ON DELETE CASCADE;


--
-- Name: topologies topologies_site_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topologies
    ADD CONSTRAINT topologies_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.sites(id) ON DELETE SET NULL;


--
-- Name: topologies topologies_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topologies
    ADD CONSTRAINT topologies_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- Name: topology_permissions topology_permissions_topology_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topology_permissions
    ADD CONSTRAINT topology_permissions_topology_id_fkey FOREIGN KEY (topology_id) REFERENCES public.topologies(id) ON DELETE CASCADE;


--
-- Name: topology_permissions topology_permissions_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.topology_permissions
    ADD CONSTRAINT topology_permissions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: usage_records usage_records_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id) ON DELETE CASCADE;


--
-- Name: users users_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id);


--
-- Name: users users_usage_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_usage_id_fkey FOREIGN KEY (usage_id) REFERENCES public.usage_statistics(id);


--
-- PostgreSQL database dump complete
--

\unrestrict dbmate


--
-- Dbmate schema migrations
--

INSERT INTO public.schema_migrations (version) VALUES
    ('20261128150100'),
    ('20261128150200'),
    ('20261128150300'),
    ('20261128150400'),
    ('20261128150500'),
    ('20261128150600'),
    ('20261128150700'),
    ('20261128150710'),
    ('20261128150800'),
    ('20261128150900'),
    ('20261129021313'),
    ('20261129023848'),
    ('20261129130853'),
    ('20261129161500'),
    ('20261129170500');
