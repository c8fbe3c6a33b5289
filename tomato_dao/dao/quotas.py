"""Quotas: beside db/queries/quotas.sql."""

from typing import TYPE_CHECKING

from ..patches import QuotaPatch, checked
from ..rows import Quota
from . import found

if TYPE_CHECKING:
    from .faces import QuotasQueries


class Quotas:
    """What each user may use a month and has used in this one; comes and goes with the user."""

    def __init__(self, queries: "QuotasQueries") -> None:
        self._q = queries

    def get(self, user_id: int) -> Quota:
        """The quota of a user. Raises NotFound."""
        return found(self._q.get(user_id), "quota", user_id)

    def update(self, user_id: int, patch: QuotaPatch) -> Quota:
        """Change what the patch names. Raises NotFound, InvalidValue (a negative value)."""
        return found(self._q.update(user_id, checked(QuotaPatch, "quota", patch)), "quota", user_id)
