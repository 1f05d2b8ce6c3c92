"""``/integrations``: every integration, how it is and how its last day was."""

from typing import Final

from agents.view.gather import Gather
from agents.view.pages.browsing import with_facets
from agents.view.server import View, Visit
from pipeline.view.page import Page

FACETS: Final = ("state", "kind", "origin")
_NOTHING: Final = "There are no integrations yet: make one here, or name some in faust.yml."


class IntegrationList:
    """The list; single ones are pages of their own."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather

    def register(self, view: View) -> None:
        """Put it on ``view``."""
        view.page("/integrations", self.search, nav="Integrations")

    async def search(self, visit: Visit) -> Page:
        """Search integrations."""
        asked = with_facets(visit, FACETS)
        section = await self._gather.section("integrations", "integrations", asked, what="integrations")
        return Page("Integrations", "integrations.html", [section], context={"nothing": {"integrations": _NOTHING}})
