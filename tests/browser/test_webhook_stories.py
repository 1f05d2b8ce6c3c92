"""A webhook, from a pasted sample to its deletion, as somebody makes it with a mouse; and with no script."""

import json

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Desk
from tests.browser.looking import barriers
from tests.browser.scene import OPERATOR, VIEWER, Scene

SAMPLE = json.dumps({"user": {"id": "user-1"}, "order": {"price": 99.5}, "items": [{"sku": "A-1"}, {"sku": "B-2"}]})


def fill_in(page: Page, scene: Scene, name: str) -> None:
    page.goto(f"{scene.url}/webhooks/new")
    page.locator("#f-name").fill(name)
    page.locator("#f-event").fill("CheckoutSuccess")
    page.locator("#f-application").fill("CRM")
    page.locator("#f-sample").fill(SAMPLE)


def filled(page: Page) -> dict[str, str]:
    inputs = page.locator("#attribute-rows input, #f-identify-field").all()
    return {str(each.get_attribute("name")): each.input_value() for each in inputs if each.input_value()}


def test_clicks_on_the_sample_fill_the_rows(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    fill_in(page, scene, "Clicked")
    page.locator("#f-event").focus()  # leaving the sample has it read
    for path in ("user.id", "order.price", "items[*].sku", "items[0].sku"):
        page.locator(f"[data-path='{path}']").click()
    page.locator("#f-row-0-path").focus()
    page.locator("[data-path='order']").click()

    assert filled(page) == {
        "identify.field": "user.id", "row.0.attribute": "price", "row.0.path": "order", "row.1.attribute": "sku",
        "row.1.path": "items[*].sku", "row.2.attribute": "sku", "row.2.path": "items[0].sku",
    }  # fmt: skip


def test_rows_come_and_go_without_a_word_to_the_server(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/webhooks/new")
    page.get_by_role("button", name="+ Add attribute").click()
    page.locator("#f-row-3-attribute").fill("kept")
    page.locator("[data-remove-row]").first.click()

    assert filled(page) == {"row.3.attribute": "kept"}
    assert page.locator("#attribute-rows [data-attribute-row]").count() == 3


def test_a_webhook_is_made_shown_once_and_deleted(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    fill_in(page, scene, "Short-lived")
    page.locator("#f-identify-field").fill("user.id")
    page.get_by_role("button", name="Create", exact=True).last.click()
    secret = page.locator("#webhook-secret").inner_text()
    assert (secret.startswith("Bearer "), secret in page.locator("#webhook-curl").inner_text(), barriers(page)) == (
        True,
        True,
        [],
    )

    page.goto(f"{scene.url}/webhooks/short-lived/url")
    assert secret not in page.content()

    page.goto(f"{scene.url}/webhooks")
    page.get_by_role("button", name="Menu of Short-lived").click()
    page.get_by_role("button", name="Disable").click()
    page.get_by_text("Short-lived is disabled").wait_for()
    page.goto(f"{scene.url}/webhooks?status=disabled")
    page.get_by_role("button", name="Menu of Short-lived").click()
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Short-lived is deleted").wait_for()
    assert page.get_by_role("link", name="Short-lived").count() == 0


def test_a_webhook_is_not_made_again_when_its_page_is_loaded_again(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    fill_in(page, scene, "Loaded again")
    page.locator("#f-identify-field").fill("user.id")
    page.get_by_role("button", name="Create", exact=True).last.click()
    secret = page.locator("#webhook-secret").inner_text()
    page.reload()

    assert (page.url, secret in page.content()) == (f"{scene.url}/webhooks/loaded-again/url", False)
    page.goto(f"{scene.url}/webhooks")
    assert page.get_by_role("link", name="Loaded again").count() == 1


def test_a_new_secret_is_asked_for_before_it_is_made(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    fill_in(page, scene, "Rotated")
    page.locator("#f-identify-field").fill("user.id")
    page.get_by_role("button", name="Create", exact=True).last.click()
    first = page.locator("#webhook-secret").inner_text()
    page.get_by_role("button", name="New secret").first.click()
    page.get_by_text("stays valid for 1 d").wait_for()
    page.locator("#act-rotate").get_by_role("button", name="New secret").click()
    page.get_by_text("The secret before this one is valid until").wait_for()

    assert page.locator("#webhook-secret").inner_text() != first


def test_a_webhook_is_made_without_script(desk: Desk, scene: Scene) -> None:
    page = desk.reader(has_script=False)
    fill_in(page, scene, "Plain")
    page.get_by_role("button", name="Read the sample").click()
    assert "order.price" in page.locator("#sample-fields").inner_text()
    page.locator("#f-identify-field").fill("user.id")
    page.locator("#f-row-0-attribute").fill("price")
    page.locator("#f-row-0-path").fill("order.price")
    page.get_by_role("button", name="Show the event").click()
    assert '"price": 99.5' in page.locator("#trial-event").inner_text()
    page.get_by_role("button", name="Create", exact=True).last.click()

    assert page.locator("#webhook-secret").inner_text().startswith("Bearer ")


@pytest.mark.parametrize("token", [VIEWER, OPERATOR])
def test_who_may_not_change_webhooks_is_offered_no_way_to(desk: Desk, scene: Scene, token: str) -> None:
    page = desk.reader(token)
    page.goto(f"{scene.url}/webhooks")
    assert page.get_by_role("link", name="New webhook").count() == 0
    page.goto(f"{scene.url}/webhooks/new")

    assert page.get_by_role("button", name="Create").count() == 0
