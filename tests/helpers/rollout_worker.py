"""A worker of a rolling deployment, as a process of its own: it calls all DAOs until its standard input ends.

Run as `python rollout_worker.py NAME` beside the code that it is to use. Says “ready” after the first round, and at the end, as
JSON, how many calls there were, which failed, and how long the slowest took.
"""

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any

from tomato_dao import Database, TomatoError, connect

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PAUSE = 0.005  # seconds after each call, so that a small machine is not full


class Caller:
    """Calls methods of DAOs, and notes how they went."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.calls = 0
        self.failures: list[str] = []
        self.slowest = (0.0, "")

    def __call__(self, dao: str, method: str, *args: object, **kwargs: object) -> Any:
        """Return what a method returns; None where it fails."""
        start = monotonic()
        self.calls += 1
        try:
            return getattr(getattr(self._db, dao), method)(*args, **kwargs)
        except TomatoError as error:
            self.failures.append(f"{dao}.{method}: {error}")
        finally:
            self.slowest = max(self.slowest, (monotonic() - start, f"{dao}.{method}"))
            sleep(PAUSE)


def round_of_calls(call: Caller, name: str) -> None:
    """Call each DAO: what there is is made, read, changed, listed and removed."""
    organization = call("organizations", "create", name)
    call("organizations", "update", name, {"description": "changed"})
    call("organizations", "get_by_name", name)
    call("organizations", "list", limit=10)
    site = call("sites", "create", name, organization_id=organization.id)
    call("sites", "list_of_organization", organization.id)
    user = call("users", "create", name, organization_id=organization.id)
    call("users", "full", user.id)
    call("quotas", "get", user.id)
    host = call("hosts", "create", name, address="10.0.0.1", rpcurl=f"ssl+jsonrpc://{name}:8003", site_id=site.id)
    call("hosts", "full", name)
    template = call("templates", "create", "kvmqm", name)
    call("templates_on_hosts", "set", host.id, template.id, True)
    call("templates", "readiness", template.id)
    profile = call("profiles", "create", "kvmqm", name)
    network = call("networks", "create", name)
    call("network_instances", "create", network.id, host.id, "bridge")
    call("resources", "list", limit=10)
    topology = call("topologies", "create", name, owner_id=user.id)
    machine = call("elements", "create", topology.id, "kvmqm")
    ends = [call("elements", "create", topology.id, "kvmqm_interface", parent_id=machine.id) for _ in range(2)]
    connection = call("connections", "create", ends[0].id, ends[1].id)
    call("connections", "list_of_topology", topology.id)
    call("topologies", "full", topology.id)
    call("topology_permissions", "matrix", topology.id)
    call("host_elements", "create", host.id, 1, type="kvmqm", state="created", element_id=machine.id)
    call("host_elements", "list_of_host", host.id)
    call("host_connections", "list_of_connection", connection.id)
    call("usage", "history", topology.usage_id)
    call("link_measurements", "history", name, name)
    call("error_dumps", "list", limit=1)
    call("error_groups", "list_summaries", limit=1)
    call("key_values", "set", name, [1])
    call("key_values", "delete", name)
    call("tasks", "claim", name, timedelta(hours=1), lease=timedelta(minutes=1))
    call("settings", "get")
    call("topologies", "delete", topology.id)
    call("host_elements", "list_uses_of_host", host.id)
    for dao, thing in (("profiles", profile), ("templates", template)):
        call(dao, "get", thing.id)
    call("network_instances", "list", limit=1)


def main() -> None:
    """Work until the standard input ends."""
    name = sys.argv[1]
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    with connect(application_name=name, pool_size=2) as db:
        call = Caller(db)
        rounds = 0
        while not over.is_set():
            rounds += 1
            with suppress(AttributeError):  # of what a call that failed did not return
                round_of_calls(call, f"{name}-{rounds}")
            if rounds == 1:
                print("ready", flush=True)
    print(json.dumps({"calls": call.calls, "failures": call.failures, "slowest": call.slowest}))


if __name__ == "__main__":
    main()
