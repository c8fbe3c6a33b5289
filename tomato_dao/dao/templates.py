"""Templates: methods for the queries in db/queries/templates.sql."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import TemplatePatch, checked
from ..rows import FullTemplate, JsonIn, JsonObject, ListedTemplate, Template, TemplateOfHost, TemplateReadiness
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import TemplatesQueries


class Templates:
    """Disk images. A name is unique within a tech (kvmqm, openvz, repy)."""

    def __init__(self, queries: "TemplatesQueries") -> None:
        self._q = queries

    def create(
        self,
        tech: str,
        name: str,
        *,
        preference: int = 0,
        label: str = "",
        subtype: str = "",
        restricted: bool = False,
        kblang: str = "en-us",
        torrent_data: str = "",
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Template:
        """Create a template and return it. Raises AlreadyExists, InvalidValue."""
        return self._q.create(tech, name, preference, label, subtype, restricted, kblang, torrent_data, attrs or {})

    def get(self, id: int) -> Template:
        """Return the template with this id. Raises NotFound."""
        return found(self._q.get(id), "template", id)

    def full(self, id: int) -> FullTemplate:
        """Return the template with this id and its readiness, as `readiness` returns it. Raises NotFound."""
        return found(self._q.full(id), "template", id)

    def get_by_name(self, tech: str, name: str) -> Template:
        """Return the template of a tech with this name. Raises NotFound."""
        return found(self._q.get_by_name(tech, name), "template", (tech, name))

    def preferred(self, tech: str) -> Template:
        """Return a tech's template with the highest preference, the oldest of several. Raises NotFound if the tech has none."""
        return found(self._q.preferred(tech), "template of tech", tech)

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[ListedTemplate]:
        """Return a page of templates ordered by id: at most `limit`, with ids above `after`; `iterate` returns all.

        They have the MD5 of their torrent data instead of the data, which can be large; `get` returns the data.
        """
        return self._q.list(after, limit)

    def iterate(self, *, tech: str | None = None) -> Iterator[ListedTemplate]:
        """Iterate over all templates, or those of a tech, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit, tech=tech), lambda row: row.id, 0)

    def list_of_tech(self, tech: str, *, after: int = 0, limit: int = 100) -> Sequence[ListedTemplate]:
        """Return a page of a tech's templates, as `list` does; `iterate` returns all."""
        return self._q.list(after, limit, tech=tech)

    def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[TemplateOfHost]:
        """Return a page of all templates ordered by id, as `list` does, each with whether a host has it ready."""
        return self._q.list_of_host(host_id, after, limit)

    def readiness(self, id: int) -> TemplateReadiness:
        """Return how many hosts have a template ready, and how many have a row for it. Raises NotFound."""
        return found(self._q.readiness(id), "template", id)

    def list_readiness(self, *, after: int = 0, limit: int = 100) -> Sequence[TemplateReadiness]:
        """Return a page of the readiness of the templates that `list` returns.

        Pass the last template_id as `after` for the next page.
        """
        return self._q.list_readiness(after, limit)

    def update(self, id: int, patch: TemplatePatch) -> Template:
        """Change the fields in the patch and return the template. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(id, checked(TemplatePatch, "template", patch)), "template", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "template", id)

    def delete(self, id: int) -> None:
        """Delete a template; elements that used it run with the preferred one. Raises NotFound."""
        changed(self._q.delete(id), "template", id)
