"""Settings: methods for the queries in db/queries/settings.sql."""

from typing import TYPE_CHECKING

from ..patches import SettingsPatch, checked
from ..rows import Settings
from . import found

if TYPE_CHECKING:
    from .faces import SettingsQueries


class InstallationSettings:
    """Settings of the installation, kept in the database for all workers."""

    def __init__(self, queries: "SettingsQueries") -> None:
        self._q = queries

    def get(self) -> Settings:
        """Return the current settings."""
        return found(self._q.get(), "settings", None)

    def update(self, patch: SettingsPatch) -> Settings:
        """Change the fields in the patch and return the settings. All workers use them from their next call on.

        Raises InvalidValue: durations are whole seconds from 1 to ten years; amounts are 0 or more.
        """
        return found(self._q.update(checked(SettingsPatch, "settings", patch)), "settings", None)
