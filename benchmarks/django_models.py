"""The tables of the benchmark as unmanaged Django models. Import it after Django is configured."""

from django.db import models


class _Table(models.Model):
    class Meta:
        abstract = True
        managed = False
        app_label = "benchmarks"


class Organization(_Table):
    """organizations, by Django."""

    name = models.TextField()
    description = models.TextField(default="")
    homepage_url = models.TextField(default="")
    image_url = models.TextField(default="")
    description_text = models.TextField(default="")
    usage_id = models.BigIntegerField(null=True)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "organizations"


class Site(_Table):
    """sites, by Django."""

    name = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "sites"


class Host(_Table):
    """hosts, by Django."""

    name = models.TextField()
    site = models.ForeignKey(Site, models.DO_NOTHING)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "hosts"


class Template(_Table):
    """templates, by Django."""

    tech = models.TextField()
    name = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "templates"


class Profile(_Table):
    """profiles, by Django."""

    tech = models.TextField()
    name = models.TextField()
    ram = models.FloatField(null=True)
    cpus = models.FloatField(null=True)
    diskspace = models.FloatField(null=True)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "profiles"


class User(_Table):
    """users, by Django."""

    name = models.TextField()
    origin = models.TextField()
    realname = models.TextField()
    email = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "users"


class Topology(_Table):
    """topologies, by Django."""

    name = models.TextField()
    site = models.ForeignKey(Site, models.DO_NOTHING, null=True)
    timeout_at = models.DateTimeField()
    timeout_step = models.SmallIntegerField()
    usage_id = models.BigIntegerField(null=True)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "topologies"


class Permission(_Table):
    """topology_permissions, by Django."""

    pk = models.CompositePrimaryKey("topology_id", "user_id")
    topology = models.ForeignKey(Topology, models.DO_NOTHING, related_name="permissions")
    user = models.ForeignKey(User, models.DO_NOTHING)
    role = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "topology_permissions"


class HostElement(_Table):
    """host_elements, by Django."""

    host = models.ForeignKey(Host, models.DO_NOTHING)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_elements"


class Connection(_Table):
    """connections, by Django."""

    topology = models.ForeignKey(Topology, models.DO_NOTHING, related_name="connections")
    type = models.TextField()
    state = models.TextField()
    usage_id = models.BigIntegerField(null=True)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "connections"


class HostConnection(_Table):
    """host_connections, by Django."""

    host = models.ForeignKey(Host, models.DO_NOTHING)
    num = models.BigIntegerField()
    connection = models.ForeignKey(Connection, models.DO_NOTHING, null=True, related_name="host_connections")
    type = models.TextField()
    state = models.TextField()
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_connections"


class Element(_Table):
    """elements, by Django."""

    topology = models.ForeignKey(Topology, models.DO_NOTHING, related_name="elements")
    type = models.TextField()
    state = models.TextField()
    parent_id = models.BigIntegerField(null=True)
    connection_id = models.BigIntegerField(null=True)
    host_element = models.ForeignKey(HostElement, models.DO_NOTHING, null=True)
    site_id = models.BigIntegerField(null=True)
    template = models.ForeignKey(Template, models.DO_NOTHING, null=True)
    profile = models.ForeignKey(Profile, models.DO_NOTHING, null=True)
    usage_id = models.BigIntegerField(null=True)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "elements"


class HostElementUsage(_Table):
    """host_elements as accounting sees them, by Django."""

    element_id = models.BigIntegerField(null=True)
    usage_id = models.BigIntegerField(null=True)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_elements"


class HostConnectionUsage(_Table):
    """host_connections as accounting sees them, by Django."""

    element_id = models.BigIntegerField(null=True)
    usage_id = models.BigIntegerField(null=True)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_connections"


class UsageRecord(_Table):
    """usage_records, by Django."""

    pk = models.CompositePrimaryKey("usage_id", "type", "end_at")
    usage_id = models.BigIntegerField()
    type = models.TextField()
    begin_at = models.DateTimeField()
    end_at = models.DateTimeField()
    measurements = models.BigIntegerField()
    memory = models.FloatField()
    diskspace = models.FloatField()
    traffic = models.FloatField()
    cputime = models.FloatField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "usage_records"
