"""A browser and something to look at. Where there is no Chromium these tests are skipped."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import FLAGS, WITHIN_MS, Troubles, chromium_path
from tests.browser.scene import ADMIN, Scene

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands here, so that ``-m "not browser"`` leaves it out."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip what stands here, with one line for all, where there is no browser."""
    if chromium_path() is None:
        pytest.skip("no Chromium to look at the web view with: install chromium, or name one in DISTRIBUTARY_CHROMIUM")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    path = chromium_path()
    assert path is not None
    return path


@pytest.fixture(scope="session")
def scene(chromium: str, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two workers with traffic, failures, parked batches and dead letters. Make integrations of your own to change any."""
    scene = Scene(kafka, tmp_path_factory.mktemp("scene"))
    try:
        scene.start()
        yield scene
    finally:
        scene.stop()


# One browser a module, since while it is there no other test can have an event loop in this thread.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


class Desk:
    """Gives browsers, and watches what goes wrong in them."""

    def __init__(self, browser: Browser, own: str, sessions: dict[str, Any]) -> None:
        self._browser = browser
        self._own = own
        self._sessions = sessions
        self._pages: list[Page] = []
        self.troubles: list[Troubles] = []

    def guest(self, *, has_script: bool = True) -> Page:
        """A page of a browser in which nobody is signed in."""
        return self._page(has_script=has_script)

    def reader(self, token: str = ADMIN, *, has_script: bool = True) -> Page:
        """A page of a browser of its own in which the token's owner is signed in."""
        if token not in self._sessions:
            page = self._page()
            sign_in(page, self._own, token)
            self._sessions[token] = page.context.storage_state()
        return self._page(has_script=has_script, storage_state=self._sessions[token])

    def allow(self, *parts: str) -> None:
        """Console lines with one of these parts belong to the story, such as a refusal that it provokes."""
        for troubles in self.troubles:
            troubles.allow(*parts)

    def close(self) -> list[str]:
        """End the browsers; gives what went wrong in them."""
        seen = [each for troubles in self.troubles for each in troubles.all()]
        for page in self._pages:
            page.context.close()
        return seen

    def _page(self, *, has_script: bool = True, **options: Any) -> Page:
        context = self._browser.new_context(
            java_script_enabled=has_script, timezone_id="Europe/Berlin", reduced_motion="reduce", **options
        )
        context.set_default_timeout(WITHIN_MS)
        page = context.new_page()
        page.set_viewport_size({"width": 1280, "height": 800})
        self._pages.append(page)
        self.troubles.append(Troubles.of(page, self._own))
        return page


def sign_in(page: Page, own: str, token: str) -> None:
    """Type a token, as people do."""
    page.goto(f"{own}/sign-in?next=/about")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{own}/about")


@pytest.fixture(scope="session")
def sessions() -> dict[str, Any]:
    """The cookies of those who have signed in."""
    return {}


@pytest.fixture
def desk(browser: Browser, scene: Scene, sessions: dict[str, Any]) -> Iterator[Desk]:
    """Where browsers are had. At the end nothing may have gone wrong in any."""
    desk = Desk(browser, scene.url, sessions)
    yield desk
    seen = desk.close()
    assert not seen


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: ``DISTRIBUTARY_SCREENSHOTS``, else with the test session's other files."""
    named = os.environ.get("DISTRIBUTARY_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def picture(pictures: Path) -> Callable[[Page, str], None]:
    """``picture(page, name)`` keeps what is seen of a page."""

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=pictures / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png")

    return keep
