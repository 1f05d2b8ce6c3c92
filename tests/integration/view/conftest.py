"""A view on a real socket of loopback: the worker's own web server, with pages of the test's, and no Kafka behind it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import aiohttp
import faust
import pytest

from agents.view.pages.sign_in import SignInPages
from agents.view.server import View
from agents.view.web import ViewWeb
from pipeline.clock import ManualClock
from pipeline.local import ports
from pipeline.view.settings import ViewSettings
from tests.support.hostile_flow import HostileFlow

Register = Callable[[View], None]


class Served(NamedTuple):
    """A view that answers at ``url``; ``clock`` is the one it goes by."""

    url: str
    port: int
    view: View
    clock: ManualClock
    stop: Callable[[], Awaitable[None]]

    def client(self, **options: Any) -> aiohttp.ClientSession:
        """A browser or program of its own; its cookies are kept also for an address, as browsers keep them."""
        jar = aiohttp.CookieJar(unsafe=True)
        return aiohttp.ClientSession(self.url, cookie_jar=jar, **options)


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(settings, register)`` serves the view with what ``register`` adds to it."""
    running: list[ViewWeb] = []

    async def start(settings: ViewSettings | None = None, register: Register = lambda _view: None) -> Served:
        settings = settings or ViewSettings()
        port = ports.choose()
        app = faust.App("view-test", web_bind="127.0.0.1", web_port=port)
        web = ViewWeb(app)
        clock = ManualClock()
        view = View(settings, "view-test", clock, bind=lambda: "127.0.0.1")
        SignInPages(view).register()
        register(view)
        view.mount(web.web_app)
        await web.start_server()
        running.append(web)
        return Served(f"http://127.0.0.1:{port}", port, view, clock, web.stop_server)

    yield start
    for web in running:
        await web.stop_server()


@pytest.fixture(scope="session")
def hostile(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileFlow]:
    """A whole worker to which everything that comes means harm. Make integrations of your own to change any."""
    flow = HostileFlow(kafka, tmp_path_factory.mktemp("hostile"))
    try:
        flow.begin_with_traffic()
        yield flow
    finally:
        flow.close()
