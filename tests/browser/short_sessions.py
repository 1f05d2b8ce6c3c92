"""A view of one page with a clock of the test's, in a thread with an event loop of its own: for what takes hours."""

import asyncio
import threading
import time

import faust

from agents.view.pages.sign_in import SignInPages
from agents.view.server import View, Visit
from agents.view.web import ViewWeb
from pipeline.clock import ManualClock
from pipeline.local import ports
from pipeline.view.page import Page
from pipeline.view.settings import ViewSettings


class ShortSessions:
    """Served at ``url`` until ``close``."""

    token = "token-of-a-short-session"

    def __init__(self) -> None:
        port = ports.choose()
        self.url = f"http://127.0.0.1:{port}"
        self._clock = ManualClock(time.time())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._web = asyncio.run_coroutine_threadsafe(self._serve(port), self._loop).result(20)

    def pass_hours(self, hours: float) -> None:
        """Let the clock go on."""
        self._clock.move(hours * 3600)

    def close(self) -> None:
        """End it."""
        asyncio.run_coroutine_threadsafe(self._web.stop_server(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, port: int) -> ViewWeb:
        settings = ViewSettings.model_validate({"tokens": [{"name": "ana", "role": "viewer", "token": self.token}]})
        app = faust.App("short-sessions", web_bind="127.0.0.1", web_port=port)
        web = ViewWeb(app)
        view = View(settings, "short-sessions", self._clock, bind=lambda: "127.0.0.1")
        SignInPages(view).register()
        view.page("/shelf", _shelf, nav="Shelf")
        view.mount(web.web_app)
        await web.start_server()
        return web


async def _shelf(visit: Visit) -> Page:
    return Page("Shelf", "page.html", [], {"asked_for": visit.parameter("q")})
