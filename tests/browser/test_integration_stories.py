"""What people do to integrations, from the first look at a form to the last batch."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk
from tests.browser.looking import barriers
from tests.browser.scene import OPERATOR, SECRET, Scene

pytestmark = pytest.mark.timeout(180)

SOON_MS = 30_000
Picture = Callable[[Page, str], None]


def field(page: Page, name: str) -> Any:
    """The field of a setting."""
    return page.locator(f'[name="{name}"]')


def fill(page: Page, **values: str) -> None:
    """Fill fields; a dot in a name is written as two underscores. What is folded is opened first."""
    for name, value in values.items():
        place = field(page, name.replace("__", "."))
        fold = page.locator("details.fold:not([open])").filter(has=place)
        if fold.count():
            fold.locator("> summary").click()
        place.fill(value)


def act(page: Page, label: str) -> None:
    """Press a button that asks first, and agree."""
    page.get_by_role("button", name=label, exact=True).first.click()
    page.locator("[popover]:popover-open form button:not([type=button])").click()


def test_an_integration_is_made_by_the_form_and_its_batches_arrive(desk: Desk, scene: Scene, picture: Picture) -> None:
    page = desk.reader()
    desk.allow("status of 422")
    scene.send("SHOP", 12)
    page.goto(f"{scene.url}/integrations")
    page.get_by_role("link", name="New", exact=True).click()
    page.get_by_role("main").get_by_role("link", name="http").first.click()

    # Mistakes stand beside their fields, and nothing that was typed is lost.
    fill(page, id="Shop!", url=scene.endpoint("shop"), events="*", platforms="*", applications="SHOP")
    page.get_by_role("button", name="Create").click()
    expect(field(page, "id")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".is-wrong")).to_have_count(1)
    expect(field(page, "applications")).to_have_value("SHOP")
    assert barriers(page) == []
    picture(page, "story mistakes in a form")

    # What it would have caught, and whether its endpoint answers, before it is saved.
    fill(page, id="shop")
    expect(page.locator(".is-wrong")).to_have_count(0)
    fill(page, authorization=SECRET, batch__max_events="10", batch__max_age="300ms", retry__delays="20ms")
    page.get_by_role("button", name="Preview the filter").click()
    expect(page.locator("#outcome")).to_contain_text(re.compile(r"\b12\b"), timeout=SOON_MS)
    assert barriers(page) == []
    picture(page, "story preview")
    fill(page, authorization=SECRET)
    page.get_by_role("button", name="Send a test event").click()
    expect(page.locator("#outcome")).to_contain_text("answered 200", timeout=SOON_MS)
    assert len(scene.came("shop")) == 1
    assert SECRET not in page.content()
    assert barriers(page) == []
    picture(page, "story test send")

    page.get_by_role("button", name="Create").click()
    page.wait_for_url(f"{scene.url}/integrations/shop")
    expect(page.get_by_text("shop is made")).to_be_visible()

    sent = scene.send("SHOP", 25)
    scene.await_came("shop", lambda came: {each["uuid"] for each in came} >= set(sent), "all events have come")
    scene.await_rows("/batches", "batches", 3, integration="shop", outcome="delivered")
    page.goto(f"{scene.url}/batches?integration=shop&outcome=delivered")
    expect(page.locator("#batches tbody tr")).to_have_count(3)


def test_a_broken_endpoint_is_seen_mended_and_what_was_parked_is_replayed(
    desk: Desk, scene: Scene, picture: Picture
) -> None:
    scene.create(
        "club", retry={"delays": ["20ms"]}, breaker={"after_tries": 2, "after": "0s", "pause": "1s", "max_pause": "1s"}
    )
    scene.customers.answers["club"] = 503
    sent = scene.send("CLUB", 10)
    page = desk.reader()
    page.goto(f"{scene.url}/integrations/club?refresh=2")

    expect(page.locator("h1")).to_contain_text("breaker", timeout=SOON_MS)
    scene.await_rows("/parked", "parked", 1, integration="club")
    sent += scene.send("CLUB", 10)
    scene.await_rows("/attempts", "attempts", 1, integration="club", status="503")
    assert barriers(page) == []
    picture(page, "story breaker open")
    scene.await_rows("/notices", "notices", 1, integration="club")
    page.goto(f"{scene.url}/notices?integration=club")
    expect(page.locator("#notices tbody tr").first).to_be_visible()

    # The customer has moved: with the new address the endpoint recovers by itself.
    page.goto(f"{scene.url}/integrations/club")
    page.get_by_role("link", name="Edit", exact=True).click()
    fill(page, url=scene.endpoint("club-moved"))
    page.get_by_role("button", name="Save").last.click()
    page.wait_for_url(f"{scene.url}/integrations/club")
    expect(page.get_by_text("club is changed")).to_be_visible()
    sent += scene.send("CLUB", 10)
    page.goto(f"{scene.url}/integrations/club?refresh=2")
    scene.await_came("club-moved", lambda came: len(came) >= 10, "the new address takes events")
    expect(page.locator("h1")).not_to_contain_text("breaker", timeout=SOON_MS)

    # What had given up is counted, then sent again.
    page.get_by_role("link", name="Replay parked").click()
    expect(page.locator("h1")).to_have_text("Replay parked batches")
    picture(page, "story replay counted")
    page.get_by_role("button", name=re.compile("Send .* again")).click()
    page.wait_for_url(re.compile("/replays/"))
    expect(page.get_by_text("being replayed")).to_be_visible()
    scene.await_came("club-moved", lambda came: {each["uuid"] for each in came} == set(sent), "all events have come")
    page.goto(f"{page.url}?refresh=2")
    expect(page.locator(".facts")).to_contain_text("done", timeout=SOON_MS)
    picture(page, "story replay done")


def test_a_change_from_a_page_that_is_out_of_date_is_refused_and_kept_in_the_form(
    desk: Desk, scene: Scene, picture: Picture
) -> None:
    scene.create("stale")
    mine, theirs = desk.reader(), desk.reader()
    desk.allow("status of 412")
    for page in (mine, theirs):
        page.goto(f"{scene.url}/integrations/stale/edit")
    fill(theirs, timeout="7s")
    theirs.get_by_role("button", name="Save").last.click()
    theirs.wait_for_url(f"{scene.url}/integrations/stale")

    fill(mine, campaigns="AUTUMN")
    mine.get_by_role("button", name="Save").last.click()

    expect(mine.get_by_role("alert")).to_contain_text("Not saved")
    expect(field(mine, "campaigns")).to_have_value("AUTUMN")
    assert barriers(mine) == []
    picture(mine, "story conflict")
    kept = scene.integration("stale")["settings"]
    assert (kept["timeout"], kept.get("campaigns", [])) == ("7s", [])


def test_an_integration_is_deleted_after_a_question(desk: Desk, scene: Scene, picture: Picture) -> None:
    scene.create("leaving")
    page = desk.reader()
    page.goto(f"{scene.url}/integrations/leaving")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog", name="Delete leaving?")).to_be_visible()
    assert barriers(page) == []
    picture(page, "story delete asked")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog", name="Delete leaving?")).to_be_hidden()

    act(page, "Delete")

    expect(page.get_by_text(re.compile("leaving is (removed|deleted)"))).to_be_visible()
    page.goto(f"{scene.url}/integrations?q=leaving")
    expect(page.locator("#integrations tbody tr")).to_have_count(0)


def test_an_integration_is_paused_and_enabled_by_an_operator(desk: Desk, scene: Scene) -> None:
    scene.create("pausing")
    page = desk.reader(OPERATOR)
    page.goto(f"{scene.url}/integrations/pausing")
    act(page, "Disable")
    expect(page.get_by_text("pausing is disabled")).to_be_visible()
    act(page, "Enable")
    expect(page.get_by_text("pausing is enabled")).to_be_visible()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(0)


def test_who_did_what_stands_in_the_audit_log(desk: Desk, scene: Scene) -> None:
    scene.create("audited")
    page = desk.reader()
    scene.await_rows("/audit", "audit", 1, target="audited")
    page.goto(f"{scene.url}/audit?target=audited")

    expect(page.locator("#audit tbody tr")).to_have_count(1)
    expect(page.locator("#audit tbody tr")).to_contain_text("anna")
    expect(page.locator("#audit tbody tr")).to_contain_text("integration created")
