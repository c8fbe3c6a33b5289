"""The tables of the benchmark as unmanaged Django models. Import it after Django is configured."""

from django.db import models


class _Table(models.Model):
    class Meta:
        abstract = True
        managed = False
        app_label = "benchmarks"


class Organization(_Table):
    """The table organizations as a Django model."""

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
    """The table sites as a Django model."""

    name = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "sites"


class Host(_Table):
    """The table hosts as a Django model."""

    name = models.TextField()
    site = models.ForeignKey(Site, models.DO_NOTHING)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "hosts"


class Template(_Table):
    """The table templates as a Django model."""

    tech = models.TextField()
    name = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "templates"


class Profile(_Table):
    """The table profiles as a Django model."""

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
    """The table users as a Django model."""

    name = models.TextField()
    origin = models.TextField()
    realname = models.TextField()
    email = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "users"


class Topology(_Table):
    """The table topologies as a Django model."""

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
    """The table topology_permissions as a Django model."""

    pk = models.CompositePrimaryKey("topology_id", "user_id")
    topology = models.ForeignKey(Topology, models.DO_NOTHING, related_name="permissions")
    user = models.ForeignKey(User, models.DO_NOTHING)
    role = models.TextField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "topology_permissions"


class HostElement(_Table):
    """The table host_elements as a Django model."""

    host = models.ForeignKey(Host, models.DO_NOTHING)
    attrs = models.JSONField()

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_elements"


class Connection(_Table):
    """The table connections as a Django model."""

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
    """The table host_connections as a Django model."""

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
    """The table elements as a Django model."""

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
    """The table host_elements as a Django model, with the columns that accounting uses."""

    element_id = models.BigIntegerField(null=True)
    usage_id = models.BigIntegerField(null=True)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_elements"


class HostConnectionUsage(_Table):
    """The table host_connections as a Django model, with the columns that accounting uses."""

    element_id = models.BigIntegerField(null=True)
    usage_id = models.BigIntegerField(null=True)

    class Meta(_Table.Meta):
        """Name the table."""

        abstract = False
        db_table = "host_connections"


class UsageRecord(_Table):
    """The table usage_records as a Django model."""

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
