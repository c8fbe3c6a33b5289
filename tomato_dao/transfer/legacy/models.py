"""The old backend's models, schema 0038 (docs/moving-from-django.md), and the mapping of their fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field

APP = "tomato."
MIGRATIONS = "south.migrationhistory"
RESOURCE = "tomato.resource"
LAST_MIGRATION = "0038_auto__add_field_errordump_timestamp"


@dataclass(frozen=True, slots=True)
class Model:
    """A model's temporary table (db/legacy/tables.sql), and its columns by field.

    attrs: the columns of keys in the field attrs; other keys stay in attrs. None: there is no field attrs. key: the column of
    the pk.
    """

    table: str
    fields: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, str] | None = None
    key: str | None = "id"


def _to(*same: str, **others: str) -> dict[str, str]:
    return {name: name for name in same} | others


def _element_part(**fields: str) -> Model:
    return Model("old_element_parts", fields)


def _machine() -> Model:
    return _element_part(
        element="host_element_id",
        site="site_id",
        profile="profile_id",
        template="template_id",
        rextfv_last_started="rextfv_started_at",
        next_sync="next_sync_at",
    )


def _host_component(table: str) -> Model:
    fields = _to(
        "num", host="host_id", topology_element="element_id", topology_connection="connection_id", usageStatistics="usage_id"
    )
    return Model(table, fields, attrs=_to("type", "state"))


MODELS = {
    APP + "usage": Model("old_usages", _to("memory", "diskspace", "traffic", "cputime")),
    APP + "usagestatistics": Model("staged_usage_statistics", attrs={}),
    APP + "usagerecord": Model(
        "old_usage_records",
        _to("type", "measurements", "usage", statistics="usage_id", begin="begin_at", end="end_at"),
        key=None,
    ),
    APP + "quota": Model("old_quotas", _to("monthly", "used", used_time="used_at", continous_factor="continuous_factor")),
    APP + "organization": Model(
        "staged_organizations",
        _to("name", totalUsage="usage_id"),
        attrs=_to("description", "homepage_url", "image_url", "description_text"),
    ),
    APP + "site": Model(
        "staged_sites",
        _to("name", organization="organization_id"),
        attrs=_to("description", "location", "description_text")
        | {"geolocation.longitude": "longitude", "geolocation.latitude": "latitude"},
    ),
    APP + "host": Model(
        "staged_hosts",
        _to("name", "address", "rpcurl", site="site_id", totalUsage="usage_id"),
        attrs=_to(
            "enabled",
            "availability",
            "info",
            "element_types",
            "connection_types",
            "networks",
            "description_text",
            componentErrors="component_errors",
            info_timestamp="info_at",
            last_resources_sync="resources_synced_at",
            accounting_timestamp="accounting_at",
            dump_last_fetch="dumps_fetched_at",
            problem_age="problem_since",
            problem_mail_time="problem_mailed_at",
        ),
    ),
    APP + "user": Model(
        "staged_users",
        _to(
            "name",
            "origin",
            "quota",
            organization="organization_id",
            password="password_hash",  # noqa: S106 (a column's name)
            password_time="password_at",  # noqa: S106
            last_login="last_login_at",
            totalUsage="usage_id",
        ),
        attrs=_to("realname", "email", "flags"),
    ),
    APP + "permissions": Model("old_permissions"),
    APP + "permissionentry": Model("old_permission_entries", _to("role", set="permissions", user="user_id"), key=None),
    APP + "topology": Model(
        "staged_topologies",
        _to("permissions", "timeout_step", totalUsage="usage_id", timeout="timeout_at", site="site_id"),
        attrs=_to("name"),
    ),
    APP + "element": Model(
        "staged_elements",
        _to(
            "type",
            "state",
            "permissions",
            topology="topology_id",
            parent="parent_id",
            connection="connection_id",
            totalUsage="usage_id",
        ),
        attrs={},
    ),
    APP + "kvmqm": _machine(),
    APP + "openvz": _machine(),
    APP + "repy": _machine(),
    APP + "kvmqm_interface": _element_part(element="host_element_id"),
    APP + "openvz_interface": _element_part(element="host_element_id"),
    APP + "repy_interface": _element_part(element="host_element_id"),
    APP + "tinc_vpn": _element_part(),
    APP + "tinc_endpoint": _element_part(element="host_element_id"),
    APP + "udp_endpoint": _element_part(element="host_element_id"),
    APP + "external_network": _element_part(network="network_id"),
    APP + "external_network_endpoint": _element_part(element="host_element_id", network="network_instance_id"),
    APP + "connection": Model(
        "staged_connections",
        _to(
            "state",
            "permissions",
            topology="topology_id",
            totalUsage="usage_id",
            connection1="host_connection1_id",
            connection2="host_connection2_id",
            connectionElement1="host_element1_id",
            connectionElement2="host_element2_id",
        ),
        attrs={},
    ),
    APP + "hostelement": _host_component("staged_host_elements"),
    APP + "hostconnection": _host_component("staged_host_connections"),
    APP + "template": Model("old_templates", _to("tech", "name", "preference")),
    APP + "profile": Model("old_profiles", _to("tech", "name", "preference")),
    APP + "network": Model("old_networks", _to("kind", "preference")),
    APP + "networkinstance": Model("old_network_instances", _to("bridge", network="network_id", host="host_id")),
    APP + "templateonhost": Model(
        "staged_templates_on_hosts", _to("ready", host="host_id", template="template_id", date="changed_at"), key=None
    ),
    APP + "linkmeasurement": Model(
        "staged_link_measurements",
        _to(
            "type",
            "measurements",
            "loss",
            siteA="site_a_id",
            siteB="site_b_id",
            begin="begin_at",
            end="end_at",
            delayAvg="delay_avg",
            delayStddev="delay_stddev",
        ),
        key=None,
    ),
    APP + "keyvaluepair": Model("staged_key_values", _to("key"), attrs=_to(data="value")),
    APP + "errorgroup": Model("staged_error_groups", _to("description", "removed_dumps"), key="group_id"),
    APP + "errordump": Model(
        "staged_error_dumps",
        _to("source", "dump_id", "description", group="group_id", timestamp="at"),
        attrs=_to("origin", "software_version", "data", "data_available"),
        key=None,
    ),
    MIGRATIONS: Model("old_migrations", _to("app_name", "migration", "applied"), key=None),
}

# A resource is the base record of another model, named by its type. Both share the attrs.
RESOURCES = {
    "template": Model("staged_templates", attrs=_to("label", "subtype", "restricted", "kblang", "torrent_data")),
    "profile": Model("staged_profiles", attrs=_to("label", "restricted", "ram", "cpus", "diskspace")),
    "network": Model("staged_networks", attrs=_to("label", "restricted")),
    "network_instance": Model("staged_network_instances", attrs={}),
}
OTHER_RESOURCE = Model("old_resources", _to("type"))

# Additional fields shared by several models.
_USES = ("memory", "diskspace", "traffic", "cputime")
_PARTS = {
    APP + "usagerecord": [Model("", {f"usage.{use}": use for use in _USES})],
    APP + "quota": [Model("", {f"{kind}.{use}": f"{kind}_{use}" for kind in ("monthly", "used") for use in _USES})],
    APP + "element": [MODELS[APP + part] for part in ("kvmqm", "external_network", "external_network_endpoint")],
    APP + "template": [RESOURCES["template"]],
    APP + "profile": [RESOURCES["profile"]],
    APP + "network": [RESOURCES["network"]],
    APP + "networkinstance": [RESOURCES["network_instance"]],
}


def field_of(model: str, column: str) -> str:
    """Return the name of a column's field in the file."""
    for source in [MODELS[model], *_PARTS.get(model, [])] if model in MODELS else []:
        for name, to in source.fields.items():
            if to == column:
                return name
        for name, to in (source.attrs or {}).items():
            if to == column:
                return f"attrs.{name}"
    return column
