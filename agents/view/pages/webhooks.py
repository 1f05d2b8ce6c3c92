"""``/webhooks``: the list of inbound webhooks, and every request that came to any of them."""

from typing import Final

from agents.view.inbound_parts import INBOUND_EXAMPLE, InboundParts, off_page
from agents.view.pages.browsing import time_range, with_facets
from agents.view.server import View, Visit
from pipeline.view.page import Page

LIST: Final = "/webhooks"
REQUESTS: Final = "/webhooks/requests"
FACETS: Final = ("status", "origin")
REQUEST_FACETS: Final = ("result", "source")

_NOTHING: Final = "There are no webhooks yet. An admin makes one here from a sample of what another service sends."
_NO_REQUESTS: Final = "Nothing came in yet, or it is longer ago than the view remembers."
_OFF: Final = "Webhooks are not taken: faust.yml has no section inbound."


class WebhookList:
    """The list, and the log of all; single webhooks are pages of their own. ``parts`` is absent where nothing is taken."""

    def __init__(self, parts: InboundParts | None) -> None:
        self._parts = parts

    def register(self, view: View) -> None:
        """Put them on ``view``, before the pages of single ones."""
        view.page(LIST, self.search, nav="Webhooks")
        if self._parts is not None:
            view.page(REQUESTS, self.requests)

    async def search(self, visit: Visit) -> Page:
        """Search webhooks."""
        if self._parts is None:
            return off_page("Webhooks", _OFF, INBOUND_EXAMPLE)
        asked = with_facets(visit, FACETS)
        section = await self._parts.gather.section("webhooks", "webhooks", asked, what="webhooks")
        context = {"nothing": {"webhooks": _NOTHING}, "row_menu": "macros/webhook_menu.html"}
        return Page("Webhooks", "webhooks.html", [section], context=context)

    async def requests(self, visit: Visit) -> Page:
        """Search requests to all webhooks, also to those that are gone or never were, and Segment's calls."""
        assert self._parts is not None
        asked = with_facets(visit, REQUEST_FACETS)
        section = await self._parts.gather.section(
            "requests", "inbound_requests", asked, what="requests", **time_range(visit, "at")
        )
        return Page("Inbound requests", "page.html", [section], context={"nothing": {"requests": _NO_REQUESTS}})
