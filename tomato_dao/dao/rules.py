"""The rules of the schema's constraints, as error messages word them; importing this module registers them."""

from ..errors import InvalidValue, LastOwner, TomatoError, WrongState, register

_RULES: dict[str, tuple[type[TomatoError], str]] = {
    "organizations_name_check": (InvalidValue, "a name has at most 50 characters and no “/”"),
    "sites_name_check": (InvalidValue, "a name has at most 50 characters and no “/”"),
    "hosts_name_check": (InvalidValue, "a name has at most 255 characters and no “/”"),
    "elements_parent_id_fkey": (
        InvalidValue,
        "the parent must be in the same topology and of a type that can have such children",
    ),
    "elements_parent_id_check": (
        InvalidValue,
        "an interface needs a parent; machines, switches and networks have none",
    ),
    "elements_connection_id_fkey": (InvalidValue, "the connection must be in the same topology"),
    "elements_connection_id_check": (InvalidValue, "only interfaces and endpoints can be connected"),
    "elements_state_check": (
        InvalidValue,
        "a state is created, prepared or started (external_network_endpoint: also default)",
    ),
    "elements_type_check": (
        InvalidValue,
        "a type is kvmqm, openvz, repy (or …_interface), tinc_vpn, tinc_endpoint, external_network(_endpoint) or udp_endpoint",
    ),
    "topology_permissions_role_check": (InvalidValue, "a role is user, manager or owner"),
    "connections_state_check": (InvalidValue, "a connection's state is created or started"),
    "topologies_timeout_step_check": (InvalidValue, "a timeout's step is 0, 9, 10 or 20"),
    "elements_removable": (WrongState, "only elements in the state created can be deleted (an interface also if prepared)"),
    "connections_two_ends": (InvalidValue, "a connection has exactly two ends"),
    "topology_permissions_last_owner": (LastOwner, "a topology keeps its last owner"),
    "users_flags_known": (InvalidValue, "a new flag must be a known one"),
    "host_elements_element_id_check": (InvalidValue, "a host component serves an element or a connection, not both"),
    "host_connections_element_id_check": (InvalidValue, "a host component serves an element or a connection, not both"),
    "templates_tech_check": (InvalidValue, "a tech is kvmqm, openvz or repy"),
    "profiles_tech_check": (InvalidValue, "a tech is kvmqm, openvz or repy"),
    **{
        f"settings_{name}_check": (InvalidValue, "a duration is 1 second to 10 years")
        for name in (
            "host_update_interval",
            "resource_sync_interval",
            "availability_half_life",
            "topology_timeout_initial",
            "topology_timeout_default",
            "topology_timeout_maximum",
            "topology_timeout_warning",
            "error_dump_interval",
        )
    },
    "settings_id_check": (InvalidValue, "there is one row of settings"),
    "settings_topology_timeout_options_check": (InvalidValue, "each option must be 1 second or more"),
    "link_measurements_type_check": (InvalidValue, "a type is single, 5minutes, hour, day, month or year"),
    "link_measurements_loss_check": (InvalidValue, "a loss is a fraction, from 0 to 1"),
    "link_measurements_end_at_check": (InvalidValue, "a measurement can't end before it begins"),
    "link_measurements_site_a_id_check": (InvalidValue, "site_a_id must be the lower of the two ids"),
    "hosts_availability_check": (InvalidValue, "an availability is a fraction, from 0 to 1"),
    "sites_longitude_check": (InvalidValue, "a longitude is in degrees, from -180 to 180"),
    "sites_latitude_check": (InvalidValue, "a latitude is in degrees, from -90 to 90"),
    "users_flags_check": (InvalidValue, "a flag is a text, not null"),
    "usage_records_end_at_check": (InvalidValue, "a record can't end before it begins"),
    "usage_records_type_check": (InvalidValue, "a type is 5minutes, hour, day, month or year"),
}

_USES = ("memory", "diskspace", "traffic", "cputime")
_NOT_NEGATIVE = [
    *(f"quotas_{kind}_{use}" for kind in ("monthly", "used") for use in _USES),
    "quotas_continuous_factor",
    *(f"settings_quota_{name}" for name in (*_USES, "continuous_factor")),
    *(f"profiles_{limit}" for limit in ("ram", "cpus", "diskspace")),
    "hosts_component_errors",
    "usage_records_measurements",
    "link_measurements_measurements",
    "error_groups_removed_dumps",
]
_RULES |= {f"{column}_check": (InvalidValue, "the value must be a number of 0 or more") for column in _NOT_NEGATIVE}
_ENTITIES = (
    "organizations", "sites", "users", "hosts", "templates", "profiles", "networks", "network_instances", "topologies",
    "elements", "connections", "host_elements", "host_connections", "usage_statistics", "key_values", "error_dumps",
)  # fmt: skip
_RULES |= {f"{table}_attrs_check": (InvalidValue, "attrs must be a JSON object") for table in _ENTITIES}

_KEYS: dict[str, tuple[str, ...]] = {
    "users_name_origin_key": ("name", "origin"),
    "host_elements_host_id_num_key": ("host_id", "num"),
    "host_connections_host_id_num_key": ("host_id", "num"),
    "templates_tech_name_key": ("tech", "name"),
    "profiles_tech_name_key": ("tech", "name"),
    "network_instances_host_id_bridge_key": ("host_id", "bridge"),
}

register(rules=_RULES, keys=_KEYS, entities={"topology_exchange": "topology", "settings": "settings"})
