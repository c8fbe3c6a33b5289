"""The workers of a Citus cluster with distributed usage records: their availability and their share of the rows."""

import psycopg

from ...printable import one_line
from ...server.commands import command_line
from ...sql.wording import counted
from .. import distributed
from ..cli import megabytes
from .findings import BAD, NOTE, OK, Finding

UNEVEN = 1.5  # ratio of the sizes on two workers
WORTH = 100_000_000  # bytes on a worker below which the ratio does not matter

_WORKERS = """
select n.nodename || ':' || n.nodeport as worker, n.isactive, coalesce(a.success, false) as answers, a.result
from pg_catalog.pg_dist_node n
left join run_command_on_workers('select 1') a on a.nodename = n.nodename and a.nodeport = n.nodeport
where n.groupid <> 0 and n.noderole = 'primary'
order by 1
"""
_SHARDS = """
select s.nodename || ':' || s.nodeport as worker, count(*) as shards, sum(s.shard_size)::bigint as bytes
from pg_catalog.citus_shards s
where s.table_name = any(array['public.usage_records', 'public.usage_due', 'public.usage_arrivals']::regclass[])
group by 1
order by 1
"""
# A distributed version is in PL/pgSQL, the schema's own in SQL.
_FIRST_VERSION = """
select exists (
  select from pg_catalog.pg_proc p
  inner join pg_catalog.pg_language l on l.oid = p.prolang
  where p.pronamespace = 'public'::regnamespace and p.proname in ('current_usage', 'usage_total') and l.lanname = 'sql'
)
"""


def cluster(connection: psycopg.Connection) -> Finding:
    """Examine workers that do not answer, missing parts of the distributed shape, and uneven sizes."""
    workers = connection.execute(_WORKERS).fetchall()
    details, advice = [], []
    for worker, is_active, answers, said in workers:
        if not is_active or not answers:
            details.append(f"{worker} {'does not answer: ' + one_line(said or '') if is_active else 'is not active'}")
            advice.append(f"start {worker}, or see what keeps the coordinator from it; imports and accounting wait for it")
    there = distributed.distributed(connection)
    if len(there) < len(distributed.TABLES) or connection.execute(_FIRST_VERSION).fetchone() == (True,):
        details.append("tables or functions are not as they are on a cluster: what is asked of usage records may be wrong")
        advice.append(command_line("distribute"))
    level = BAD if details else OK
    shards = [] if details else connection.execute(_SHARDS).fetchall()
    sizes = [size for _, _, size in shards]
    if sizes and max(sizes) > max(UNEVEN * min(sizes), WORTH):
        level = NOTE
        details += [f"{worker}: {counted(count, 'shard')}, {megabytes(size)}" for worker, count, size in shards]
        advice.append("select citus_rebalance_start();  -- moves shards while all goes on")
    figures = {
        "workers": [{"worker": worker, "active": active, "answers": answers} for worker, active, answers, _ in workers],
        "shards": [{"worker": worker, "shards": count, "bytes": size} for worker, count, size in shards],
    }
    summary = f"{counted(len(workers), 'worker')}, {counted(sum(count for _, count, _ in shards), 'shard')}"
    return Finding("cluster", level, f"{summary}, {megabytes(sum(sizes))} of usage records", details, advice, figures)
