"""Settings of the installation: all rules read them, all workers see a change at once, and dumps carry them along."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.dao_cases import timed
from tests.helpers.host_cases import make_well, now, problems
from tests.helpers.legacy_cases import OldDump
from tests.helpers.transfer_cases import another_database, dumped
from tests.ops.test_commands import query
from tomato_dao import Database, InvalidValue, NotEmpty, connect
from tomato_dao.ops.backup import holds_rows
from tomato_dao.patches import SettingsPatch
from tomato_dao.rows import Settings

HOUR, DAY = 3600, 86400
DEFAULTS = Settings(
    60,
    600,
    90 * DAY,
    HOUR,
    3 * DAY,
    30 * DAY,
    DAY,
    [DAY, 3 * DAY, 14 * DAY, 30 * DAY],
    10e9,
    100e9,
    1.62e12,
    12_960_000,
    1,
    1800,
)
MICROSECOND = timedelta(microseconds=1)


def test_settings_begin_as_the_domain_says_and_change_one_by_one(db: Database, tomato_url: str) -> None:
    assert db.settings.get() == DEFAULTS
    with connect(tomato_url, pool_size=1) as other:
        assert other.settings.get() == DEFAULTS
        changed = db.settings.update({"topology_timeout_options": [HOUR], "quota_memory": 5})
        assert (changed.topology_timeout_options, changed.quota_memory, changed.quota_cputime) == ([HOUR], 5, 12_960_000)
        assert other.settings.get() == changed
    done = query(tomato_url, "settings.get", "--json")
    assert json.loads(done.stdout)[0]["topology_timeout_options"] == [HOUR]


def test_a_setting_that_cannot_be_is_refused(db: Database) -> None:
    wrong: list[tuple[str, Any]] = [
        ("host_update_interval", 0),
        ("resource_sync_interval", -1),
        ("availability_half_life", 0),
        ("topology_timeout_warning", 315360001),
        ("topology_timeout_options", [0]),
        ("topology_timeout_options", ["1"]),
        ("quota_traffic", -1),
        ("error_dump_interval", 1.5),
        ("colour", 1),
    ]
    for key, value in wrong:
        with pytest.raises(InvalidValue, match=r"^settings: ") as caught:
            db.settings.update({key: value})  # type: ignore[misc]
        assert caught.value.entity == "settings"
    assert db.settings.get() == DEFAULTS


def test_a_host_that_is_asked_more_rarely_may_be_silent_for_longer(db: Database, world: World) -> None:
    with db.transaction():
        at = now(db)
        silent: dict[str, Any] = {"info_at": at - timedelta(seconds=1500), "resources_synced_at": at - timedelta(seconds=1600)}
        assert problems(db, "host1", **silent) == ["unreachable"]
        db.settings.update({"host_update_interval": 600})
        assert problems(db, "host1", **silent) == ["resources: not synced for 1500 s"]
        assert problems(db, "host1", **{**silent, "info_at": silent["info_at"] - MICROSECOND}) == ["unreachable"]
        db.settings.update({"resource_sync_interval": 650})
        assert problems(db, "host1", **silent) == []
        db.settings.update({"resource_sync_interval": 649})
        assert problems(db, "host1", **silent) == ["resources: not synced for 1598 s"]


def test_availability_halves_in_the_half_life(db: Database, world: World) -> None:
    db.settings.update({"host_update_interval": 600, "availability_half_life": 1200})
    make_well(db, "host1", availability=1.0, info_at=None)
    assert [db.hosts.update_availability("host1") for _ in range(2)] == pytest.approx([0.5**0.5, 0.5])


def test_a_topology_times_out_and_is_warned_of_by_the_settings(db: Database, world: World) -> None:
    db.settings.update(
        {"topology_timeout_initial": 2 * HOUR, "topology_timeout_maximum": 10 * HOUR, "topology_timeout_warning": HOUR}
    )
    hour = timedelta(hours=1)
    topology, at = timed(db, lambda: db.topologies.create("t", owner_id=world.user.id))
    assert (topology.timeout_at, topology.timeout_step) == (at + 2 * hour, 9)
    export = {"file_information": {"version": 3}, "topology": {"attrs": {"name": "t"}}}
    made, at = timed(db, lambda: db.topologies.import_(export, owner_id=world.user.id))  # type: ignore[arg-type]
    assert db.topologies.get(made.topology_id).timeout_at == at + 2 * hour
    for period, timeout, step in ((hour, hour, 9), (2 * hour, 2 * hour, 0), (20 * hour, 10 * hour, 0)):
        renewed, at = timed(db, lambda: db.topologies.renew(topology.id, period))  # noqa: B023
        assert (renewed.timeout_at, renewed.timeout_step) == (at + timeout, step)
    db.topologies.delete(made.topology_id)
    for step, before, action in ((0, hour, "warn"), (9, 0 * hour, "stop"), (10, -hour, "destroy")):
        with db.transaction():
            at = now(db)
            db.topologies.update(topology.id, {"timeout_step": step, "timeout_at": at + before + MICROSECOND})
            assert db.topologies.claim_timeouts(limit=1, lease=hour) == []
            db.topologies.update(topology.id, {"timeout_at": at + before})
            assert [claim.action for claim in db.topologies.claim_timeouts(limit=1, lease=hour)] == [action]


def test_a_new_users_quota_is_the_default(db: Database, world: World) -> None:
    quota: SettingsPatch = {"quota_memory": 1, "quota_diskspace": 2, "quota_traffic": 3, "quota_cputime": 4}
    db.settings.update(quota | {"quota_continuous_factor": 5})
    eve = db.quotas.get(db.users.create("eve", organization_id=world.organization.id).id)
    again = db.quotas.set(world.user.id, cputime=9)
    for made, cputime in ((eve, 4), (again, 9)):
        assert (made.monthly_memory, made.monthly_diskspace, made.monthly_traffic) == (1, 2, 3)
        assert (made.monthly_cputime, made.continuous_factor) == (cputime, 5)


@pytest.mark.as_owner
def test_a_load_brings_the_dumps_settings_along_and_an_old_dump_leaves_them(
    db: Database, tomato_server_url: str, tomato_template: str
) -> None:
    db.settings.update({"host_update_interval": 7})
    text = dumped(db)
    with another_database(tomato_server_url, tomato_template) as other:
        with other.connection() as connection:
            assert not holds_rows(connection)
        other.settings.update({"error_dump_interval": 9})
        assert tomato_dao.load(other, io.BytesIO(text)).models["settings"] == 1
        assert other.settings.get() == db.settings.get() != DEFAULTS
        other.settings.update({"host_update_interval": 8})
        tomato_dao.load(other, io.BytesIO(text), merge=True)
        assert other.settings.get() == db.settings.get()
        for replace in (False, True):
            tomato_dao.load(other, OldDump().file(), replace=replace)
            assert other.settings.get().host_update_interval == 7
        tomato_dao.load(other, io.BytesIO(text), replace=True)
        other.organizations.create("uni")
        with pytest.raises(NotEmpty):
            tomato_dao.load(other, io.BytesIO(text))
