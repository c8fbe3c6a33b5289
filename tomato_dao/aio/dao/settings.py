# Generated from tomato_dao/dao/settings.py by “make schema”; not to be edited.
"""Settings: methods for the queries in db/queries/settings.sql."""

from typing import TYPE_CHECKING

from ...dao import found
from ...patches import SettingsPatch, checked
from ...rows import Settings

if TYPE_CHECKING:
    from .faces import AsyncSettingsQueries


class AsyncInstallationSettings:
    """Settings of the installation, kept in the database for all workers."""

    def __init__(self, queries: "AsyncSettingsQueries") -> None:
        self._q = queries

    async def get(self) -> Settings:
        """Return the current settings."""
        return found(await self._q.get(), "settings", None)

    async def update(self, patch: SettingsPatch) -> Settings:
        """Change the fields in the patch and return the settings. All workers use them from their next call on.

        Raises InvalidValue: durations are whole seconds from 1 to ten years; amounts are 0 or more.
        """
        return found(await self._q.update(checked(SettingsPatch, "settings", patch)), "settings", None)
