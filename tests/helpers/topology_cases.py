"""Helpers that the tests of topologies share: links and usage in them."""

from datetime import datetime, timedelta

import psycopg

from tomato_dao import Database
from tomato_dao.rows import Connection, Element


def add_link(db: Database, topology_id: int) -> tuple[list[Element], Connection]:
    """Two machines with an interface each, and the connection between these."""
    machines = [db.elements.create(topology_id, "kvmqm") for _ in range(2)]
    interfaces = [db.elements.create(topology_id, "kvmqm_interface", parent_id=m.id) for m in machines]
    connection = db.connections.create(interfaces[0].id, interfaces[1].id)
    return [db.elements.get(e.id) for e in (*machines, *interfaces)], connection


def add_usage(server: psycopg.Connection, usage_id: int | None, type: str, end_at: datetime, memory: float = 0) -> None:
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)"
        " values (%s, %s, %s, %s, 5, %s, 2, 3, 0.25)",
        [usage_id, type, end_at - timedelta(minutes=5), end_at, memory],
    )


def owners(db: Database, topology_id: int) -> list[int]:
    return [p.user_id for p in db.topology_permissions.list_of_topology(topology_id) if p.role == "owner"]
