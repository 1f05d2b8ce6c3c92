"""Every page, as its readers meet it: by mouse, by keyboard, on a telephone, in the dark, with script and without."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Desk
from tests.browser.looking import barriers, walk_by_keyboard, wider_than_screen
from tests.browser.scene import Scene

NAVIGATION = {
    "Overview": "/",
    "Integrations": "/integrations",
    "Batches": "/batches",
    "Attempts": "/attempts",
    "Parked": "/parked",
    "Dead letters": "/dead-letters",
    "Replays": "/replays",
    "Events": "/events",
    "Notices": "/notices",
    "Webhooks": "/webhooks",
    "Segment": "/segment",
    "Users": "/users",
    "Audit": "/audit",
    "Tables": "/tables",
    "Topics": "/topics",
    "Workers": "/workers",
    "SQL": "/sql",
    "About": "/about",
}
# Pages of which a few rows are looked at: the others are like them.
SHORT = frozenset(NAVIGATION) - {"Overview", "Workers", "SQL", "About"}
# What the rows of a page lead to: where its link stands, and what the page that opens is called here.
FURTHER = {
    "one batch": ("/batches?outcome=delivered", "batches"),
    "one attempt": ("/attempts?status=503", "attempts"),
    "one dead letter": ("/dead-letters", "dead_letters"),
    "one event": ("/events", "events"),
    "one inbound request": ("/webhooks/requests", "requests"),
    "one user": ("/users?application=CRM", "users"),
    "one table": ("/tables", "tables"),
    "one topic": ("/topics", "topics"),
    "one worker": ("/workers", "workers"),
}
FORMS = {
    "one integration": "/integrations/billing",
    "open windows": "/integrations/crm/window",
    "new integration, kinds": "/integrations/new",
    "new http": "/integrations/new?kind=http",
    "new xtremepush": "/integrations/new?kind=xtremepush",
    "import": "/integrations/import",
    "edit": "/integrations/crm/edit",
    "duplicate": "/integrations/crm/duplicate",
    "preview": "/integrations/crm/preview",
    "replay parked": "/parked/replay",
    "replay dead letters": "/dead-letters/replay",
    "sql answer": "/sql?q=SELECT+*+FROM+attempts+LIMIT+20",
    "sql mistake": "/sql?q=SELEC+1",
    "no such page": "/nowhere",
    "webhook": "/webhooks/orders",
    "webhook url": "/webhooks/orders/url",
    "all requests": "/webhooks/requests",
    "new webhook": "/webhooks/new",
    "webhook of the file": "/webhooks/orders/edit",
    "user search": "/users?by=email&value=user-1%40mail.example",
    "filtered": "/attempts?status__gt=499&facet=integration&sort=-status&refresh=60",
    "nothing found": "/batches?lane=nobody",
}
ALL = [*NAVIGATION, *FURTHER, *FORMS]


@pytest.fixture
def reader(desk: Desk) -> Page:
    """A browser of somebody who may see everything, where the pages of mistakes may be errors."""
    page = desk.reader()
    desk.allow("status of 404", "status of 400")
    return page


def go(page: Page, scene: Scene, name: str) -> None:
    """Open a page by its name here."""
    if name in FURTHER:
        path, section = FURTHER[name]
        page.goto(scene.url + path)
        page.locator(f"#{section} tbody tr[data-row] a").first.click()
        page.wait_for_url(lambda url: path.partition("?")[0] + "/" in url)
    else:
        page.goto(scene.url + {**NAVIGATION, **FORMS}[name] + ("?size=8" if name in SHORT else ""))


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_for_everybody(reader: Page, scene: Scene, picture: Callable[[Page, str], None], name: str) -> None:
    go(reader, scene, name)
    picture(reader, f"{name} light")
    found = {"wide at 1280": wider_than_screen(reader, 1280), "axe, light at 1280": barriers(reader)}
    reader.emulate_media(color_scheme="dark")
    picture(reader, f"{name} dark")
    found |= {"wide at 360": wider_than_screen(reader, 360), "axe, dark at 360": barriers(reader)}
    picture(reader, f"{name} narrow")

    assert {where: what for where, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "name", [*NAVIGATION, "one batch", "one attempt", "new http", "new webhook", "webhook", "import", "replay parked"]
)
def test_a_page_is_walked_by_keyboard(reader: Page, scene: Scene, name: str) -> None:
    go(reader, scene, name)

    assert walk_by_keyboard(reader) == ([], [])


def test_the_navigation_has_the_pages_that_are_looked_at_here(reader: Page, scene: Scene) -> None:
    reader.goto(scene.url + "/about")
    links = reader.get_by_role("navigation", name="Pages").locator("ul").first.get_by_role("link").all()

    assert {link.inner_text(): link.get_attribute("href") for link in links} == NAVIGATION


def test_pages_are_read_without_script(desk: Desk, scene: Scene) -> None:
    plain = desk.reader(has_script=False)
    told = {}
    for name, path in NAVIGATION.items():
        plain.goto(scene.url + path)
        told[name] = (plain.locator("h1").inner_text(), plain.locator(".needs-script:visible").count())

    assert told == {name: (name, 0) for name in NAVIGATION}
