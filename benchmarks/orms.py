"""The contestants with an ORM: SQLAlchemy (Core and ORM) and Django's ORM, on the same tables."""

from typing import Any

import django
import sqlalchemy as sa
from django.conf import settings as django_settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from benchmarks.contestants import NAME, Contestant, fresh_name
from tomato_dao.rows import Organization


class Base(DeclarativeBase):
    """SQLAlchemy's registry."""


class SaOrganization(Base):
    """organizations, by SQLAlchemy."""

    __tablename__ = "organizations"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    homepage_url: Mapped[str] = mapped_column(server_default="")
    image_url: Mapped[str] = mapped_column(server_default="")
    description_text: Mapped[str] = mapped_column(server_default="")
    usage_id: Mapped[int | None] = mapped_column(server_default=sa.text("new_usage_id()"))
    attrs: Mapped[Any] = mapped_column(JSONB)


class SaElement(Base):
    """elements, by SQLAlchemy."""

    __tablename__ = "elements"
    id: Mapped[int] = mapped_column(primary_key=True)
    topology_id: Mapped[int] = mapped_column(sa.ForeignKey("topologies.id"))
    type: Mapped[str]
    state: Mapped[str]
    parent_id: Mapped[int | None]
    connection_id: Mapped[int | None]
    host_element_id: Mapped[int | None]
    template_id: Mapped[int | None]
    profile_id: Mapped[int | None]
    attrs: Mapped[Any] = mapped_column(JSONB)


class SaConnection(Base):
    """connections, by SQLAlchemy."""

    __tablename__ = "connections"
    id: Mapped[int] = mapped_column(primary_key=True)
    topology_id: Mapped[int] = mapped_column(sa.ForeignKey("topologies.id"))
    type: Mapped[str]
    state: Mapped[str]
    attrs: Mapped[Any] = mapped_column(JSONB)


class SaPermission(Base):
    """topology_permissions, by SQLAlchemy."""

    __tablename__ = "topology_permissions"
    topology_id: Mapped[int] = mapped_column(sa.ForeignKey("topologies.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str]


class SaTopology(Base):
    """topologies, by SQLAlchemy."""

    __tablename__ = "topologies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    timeout_step: Mapped[int]
    attrs: Mapped[Any] = mapped_column(JSONB)
    elements: Mapped[list[SaElement]] = relationship()
    connections: Mapped[list[SaConnection]] = relationship()
    permissions: Mapped[list[SaPermission]] = relationship()


def _engine(url: str) -> Any:
    arguments = {k: v for k, v in conninfo_to_dict(url).items() if v is not None}
    return sa.create_engine(
        "postgresql+psycopg://", connect_args=arguments, pool_size=8, max_overflow=0, isolation_level="AUTOCOMMIT"
    )


def sqlalchemy_core(url: str) -> Contestant:
    """Return SQLAlchemy Core, with rows converted to our dataclass."""
    engine = _engine(url)
    table = SaOrganization.__table__

    def fetch(statement: Any) -> list[Organization]:
        with engine.connect() as connection:
            return [Organization(*row) for row in connection.execute(statement)]

    return Contestant(
        "SQLAlchemy Core",
        {
            "point": lambda: fetch(sa.select(table).where(table.c.name == NAME))[0],
            "list": lambda: fetch(sa.select(table).where(table.c.id > 0).order_by(table.c.id).limit(50)),
            "insert": lambda: fetch(sa.insert(table).values(name=fresh_name(), attrs={"a": 1}).returning(table))[0],
        },
        engine.dispose,
        many_threads=True,
    )


def sqlalchemy_orm(url: str, topology: int) -> Contestant:
    """Return SQLAlchemy's ORM, with a session per call and selectinload for a topology's related objects."""
    engine = _engine(url)
    loads = [selectinload(part) for part in (SaTopology.elements, SaTopology.connections, SaTopology.permissions)]

    def fetch(statement: Any) -> Any:
        with Session(engine) as session:
            return session.scalars(statement).all()

    def insert() -> object:
        with Session(engine) as session:
            made = SaOrganization(name=fresh_name(), attrs={"a": 1})
            session.add(made)
            session.commit()
            return made.description

    return Contestant(
        "SQLAlchemy ORM",
        {
            "point": lambda: fetch(sa.select(SaOrganization).where(SaOrganization.name == NAME))[0],
            "list": lambda: fetch(sa.select(SaOrganization).where(SaOrganization.id > 0).order_by(SaOrganization.id).limit(50)),
            "full": lambda: fetch(sa.select(SaTopology).where(SaTopology.id == topology).options(*loads))[0],
            "insert": insert,
        },
        engine.dispose,
        many_threads=True,
    )


def set_up_django(url: str) -> None:
    """Configure Django for the database of a URL. Its models can be imported after that."""
    settings = conninfo_to_dict(url)
    django_settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": settings["dbname"],
                "USER": settings.get("user"),
                "PASSWORD": settings.get("password") or "",
                "HOST": settings.get("host"),
                "PORT": settings.get("port") or "",
                "CONN_MAX_AGE": None,
            }
        },
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def django_orm(url: str, topology: int) -> list[Contestant]:
    """Return Django's ORM with prefetch_related for related objects, and its list page again with only() what is shown."""
    set_up_django(url)
    from django.db import connection
    from django.db.models import Prefetch

    from benchmarks import django_models as models

    prefetch = (
        "elements__host_element__host__site", "elements__template", "elements__profile",
        "connections__host_connections__host", "permissions__user",
    )  # fmt: skip

    def full() -> Any:
        found = models.Topology.objects.prefetch_related(*prefetch).get(id=topology)
        return found, [list(getattr(found, name).all()) for name in ("elements", "connections", "permissions")]

    def shown(*prefetched: Any) -> Any:
        """Read the newest 100 topologies with the data of a list page: six queries, none per topology."""
        found = list(
            models.Topology.objects.select_related("site")
            .prefetch_related("permissions__user", *prefetched)
            .order_by("-id")[:100]
        )
        latest = (
            models.UsageRecord.objects.filter(usage_id__in=[t.usage_id for t in found], type="5minutes")
            .order_by("usage_id", "-end_at")
            .distinct("usage_id")
        )
        usage = {record.usage_id: record for record in latest}
        page = []
        for t in found:
            elements = t.elements.all()
            permissions = [(p.role, p.user.name) for p in t.permissions.all()]
            states, element_ids = {e.state for e in elements}, [e.id for e in elements]
            page.append((t, usage.get(t.usage_id), permissions, states, element_ids, [c.id for c in t.connections.all()]))
        return page

    only_shown = (
        Prefetch("elements", models.Element.objects.only("topology_id", "state")),
        Prefetch("connections", models.Connection.objects.only("topology_id")),
    )

    whole = Contestant(
        "Django ORM",
        {
            "point": lambda: models.Organization.objects.get(name=NAME),
            "list": lambda: list(models.Organization.objects.filter(id__gt=0).order_by("id")[:50]),
            "full": full,
            "page": lambda: shown("elements", "connections"),
            "insert": lambda: models.Organization.objects.create(name=fresh_name(), attrs={"a": 1}),
        },
        connection.close,
    )
    return [whole, Contestant("Django ORM, only()", {"page": lambda: shown(*only_shown)}, connection.close)]
