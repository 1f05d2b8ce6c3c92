"""``/api/v1/openapi.json``: what programs can ask of the view, from what is registered."""

import inspect
from collections.abc import Iterator

from agents.view.server import Route, View
from agents.view.visit import Content, Visit
from pipeline.integrations.openapi import DOCUMENT, Served, document
from pipeline.view.formats.html import twin_path
from pipeline.view.formats.json import CONTENT_TYPE, encoded


class OpenApi:
    """The document, made when it is asked for first: everything is registered by then."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._made = b""

    def register(self) -> None:
        """Serve the document."""
        self._view.api("GET", DOCUMENT, self.show)

    async def show(self, _visit: Visit) -> Content:
        """The OpenAPI document of everything that is served as JSON."""
        if not self._made:
            settings = self._view.settings
            served = _served(self._view.routes)
            self._made = encoded(
                document(served, needs_sign_in=settings.needs_sign_in, server=settings.path_prefix or "/")
            )
        return Content(self._made, CONTENT_TYPE)


def _served(routes: list[Route]) -> Iterator[Served]:
    for route in routes:
        if route.kind in {"page", "api"}:
            path = twin_path(route.path, "json") if route.kind == "page" else route.path
            yield Served(route.kind, route.method, path, route.role.value, _summary(route))


def _summary(route: Route) -> str:
    """The first sentence of what the handler says of itself."""
    handler = route.handler if inspect.isroutine(route.handler) else type(route.handler)
    text = (inspect.getdoc(handler) or route.title or route.path).partition("\n\n")[0]
    return " ".join(text.split()).replace("``", "`")
