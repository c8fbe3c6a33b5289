"""Rollup with Django's ORM: one object after the other, with a query for each lookup."""

import time
from datetime import datetime, timedelta
from typing import Any

from benchmarks.orms import set_up_django

KEPT = {"5minutes": 12, "hour": 24, "day": 30, "month": 12, "year": 5}
WINDOW = timedelta(minutes=5)


def roll_up_by_object(url: str, sample: int, now: datetime) -> tuple[float, float]:
    """Measure the seconds for an element with a new record of each host component, and without new records.

    Each object is saved by itself, which is Django's default without an explicit transaction.
    """
    set_up_django(url)
    from benchmarks import django_models as models

    found = list(models.Element.objects.order_by("id")[:sample])
    times = []
    for _ in range(2):
        start = time.perf_counter()
        written = sum(_roll_up(models, element, now) for element in found)
        times.append((time.perf_counter() - start) / len(found))
        assert written == (0 if len(times) == 2 else len(found)), written
    return times[0], times[1]


def _roll_up(models: Any, element: Any, now: datetime) -> int:
    """Update the records of an element. Return the number of written records."""
    records = models.UsageRecord.objects
    sources = {c.usage_id for c in models.HostElementUsage.objects.filter(element_id=element.id)}
    sources |= {c.usage_id for c in models.HostConnectionUsage.objects.filter(element_id=element.id)}
    own = records.filter(usage_id=element.usage_id)
    newest = own.filter(type="5minutes").order_by("-end_at").first()
    windows: dict[datetime, list[Any]] = {}
    for record in records.filter(usage_id__in=sources, type="5minutes", end_at__gt=newest.end_at):
        windows.setdefault(record.end_at, []).append(record)
    written = 0
    for end, parts in sorted(windows.items()):
        if len(parts) == len(sources) or end + 3 * WINDOW <= now:
            weights = [(part.end_at - part.begin_at) / WINDOW for part in parts]
            records.create(
                usage_id=element.usage_id,
                type="5minutes",
                begin_at=end - WINDOW,
                end_at=end,
                measurements=sum(part.measurements for part in parts),
                memory=sum(part.memory * weight for part, weight in zip(parts, weights, strict=True)),
                diskspace=sum(part.diskspace * weight for part, weight in zip(parts, weights, strict=True)),
                traffic=sum(part.traffic for part in parts),
                cputime=sum(part.cputime for part in parts),
            )
            written += 1
    for longer in ("hour", "day", "month", "year"):
        last = own.filter(type=longer).order_by("-end_at").first()
        assert last.end_at + (last.end_at - last.begin_at) > now  # no period is complete
    if written:
        old = own.filter(type="5minutes").order_by("-end_at").values_list("end_at", flat=True)[KEPT["5minutes"] :]
        own.filter(type="5minutes", end_at__in=list(old)).delete()
    return written
