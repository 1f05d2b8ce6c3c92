"""The form of a webhook and its URL page, as a browser without script sends and reads them."""

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import aiohttp
import pytest

from agents.topology import Names
from agents.view.inbound_parts import InboundParts
from agents.view.pages.webhook import WebhookPages
from agents.view.pages.webhook_edit import WebhookForms
from agents.view.server import View
from pipeline.clock import SystemClock
from pipeline.view.settings import ViewSettings
from tests.integration.view.conftest import Serve
from tests.support.kept_integrations import Desk

SAMPLE = json.dumps(
    {"user": {"id": "12345", "e.mail": "jane@example.com"}, "items": [{"sku": "A-1"}, {"sku": "B-2"}], "total": 99.5}
)
FORM = {
    "name": "Orders of the shop",
    "event": "CheckoutSuccess",
    "application": "32E5A-9B411",
    "enabled": "true",
    "sample": SAMPLE,
    "identify.by": "user_id",
    "identify.field": "user.id",
    "row.0.attribute": "total",
    "row.0.path": "total",
    "row.1.attribute": "skus",
    "row.1.path": "items[*].sku",
}
TOKENS = [
    {"name": name, "role": role, "token": f"{role}-token-0123456789"}
    for name, role in (("anna", "admin"), ("olga", "operator"), ("vera", "viewer"))
]
READ_ONLY = {
    "id": "of-file", "name": "Of the file", "event": "Any", "application": "A", "secret": "s" * 20,
    "identify": {"by": "email", "field": "email"}, "sample": '{"email": "jane@example.com"}',
}  # fmt: skip


class Browser:
    """Somebody who is signed in, without script."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client
        self.token = ""

    async def sign_in(self, role: str) -> None:
        await self.see("/sign-in")
        async with self.client.post(
            "/sign-in", data={"token": f"{role}-token-0123456789", "csrf_token": self.token}
        ) as answer:
            assert answer.status in {200, 404}, await answer.text()

    async def see(self, path: str) -> str:
        async with self.client.get(path) as answer:
            return self._read(await answer.text())

    async def send(self, path: str, fields: Mapping[str, str]) -> tuple[int, str]:
        """Send a form, and follow to where it leads."""
        async with self.client.post(path, data={**fields, "csrf_token": self.token}, allow_redirects=False) as answer:
            return answer.status, self._read(await answer.text())

    def _read(self, text: str) -> str:
        found = re.search('name="csrf_token" value="([^"]+)"', text)
        self.token = found[1] if found else self.token
        return text


class Forms:
    """A view of forms alone, with webhooks that are kept in memory."""

    def __init__(self) -> None:
        self.desk = Desk(inbound={"public_url": "https://hooks.example", "webhooks": [READ_ONLY]})
        nobody: Any = None
        self.parts = InboundParts(nobody, nobody, self.desk.webhooks, Names("test"), self.desk.settings, SystemClock())

    def register(self, view: View) -> None:
        pages = WebhookPages(self.parts)
        WebhookForms(self.parts, pages).register(view)
        pages.register(view)
        self.desk.register(view)

    @property
    def settings(self) -> Any:
        """The settings of the webhook that ``FORM`` makes."""
        return self.desk.store.snapshot.webhooks["orders-of-the-shop"].settings


@pytest.fixture
def forms() -> Forms:
    return Forms()


@pytest.fixture
async def browser(serve: Serve, forms: Forms) -> Any:
    served = await serve(ViewSettings(tokens=TOKENS), forms.register)
    async with served.client() as client:
        browser = Browser(client)
        await browser.sign_in("admin")
        await browser.see("/webhooks/new")
        yield browser


def fields_of(page: str) -> dict[str, str]:
    """What the form's inputs hold."""
    form = page[page.index('class="integration-form') :].partition("<template")[0]
    found = {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input id="[^"]*" name="([^"]*)" value="([^"]*)"', form)
    }
    area = re.search(r'<textarea[^>]*name="sample"[^>]*>(.*?)</textarea>', form, re.DOTALL)
    assert area is not None
    return found | {"sample": unescape(area[1])}


async def test_a_webhook_is_made_and_its_secret_shown_once(browser: Browser, forms: Forms) -> None:
    status, page = await browser.send("/webhooks/new", FORM)
    secret = forms.settings.secret.get_secret_value()
    later = await browser.see("/webhooks/orders-of-the-shop/url")

    assert (status, f"Bearer {secret}" in page, "https://hooks.example/webhooks/orders-of-the-shop" in page) == (
        201,
        True,
        True,
    )
    assert (secret in later, "https://hooks.example/webhooks/orders-of-the-shop" in later) == (False, True)
    assert '-H "Authorization: Bearer $WEBHOOK_SECRET"' in unescape(later), "the page calls secret what follows Bearer"


async def test_what_was_filled_in_is_what_is_stored(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)

    assert (forms.settings.identify.by, forms.settings.identify.field) == ("user_id", "user.id")
    assert dict(forms.settings.attributes) == {"total": "total", "skus": "items[*].sku"}


async def test_the_fields_of_a_sample_are_offered(browser: Browser) -> None:
    _, page = await browser.send("/webhooks/new", {**FORM, "act": "sample"})

    offered = {unescape(path) for path in re.findall('data-path="([^"]*)"', page)}
    assert {"user.id", 'user["e.mail"]', "items[*].sku", "items[0].sku", "total"} <= offered


async def test_a_sample_that_is_no_json_is_said_so_beside_it(browser: Browser) -> None:
    _, page = await browser.send("/webhooks/new", {**FORM, "sample": "{", "act": "sample"})

    assert "The sample is not JSON" in unescape(page)


async def test_reading_the_sample_keeps_all_that_was_filled_in(browser: Browser) -> None:
    _, page = await browser.send("/webhooks/new", {**FORM, "act": "sample"})
    held = fields_of(page)

    assert {name: held[name] for name in FORM if name not in {"enabled", "identify.by"}} == {
        name: value for name, value in FORM.items() if name not in {"enabled", "identify.by"}
    }


async def test_a_row_is_added_and_removed_without_script(browser: Browser) -> None:
    _, more = await browser.send("/webhooks/new", {**FORM, "act": "add"})
    _, fewer = await browser.send("/webhooks/new", {**FORM, "act": "remove.0"})

    assert "row.2.path" in fields_of(more)
    assert (fields_of(fewer)["row.0.attribute"], "row.1.path" in fields_of(fewer)) == ("skus", False)


async def test_the_event_of_the_sample_is_shown_and_nothing_made(browser: Browser, forms: Forms) -> None:
    _, page = await browser.send("/webhooks/new", {**FORM, "act": "preview"})

    text = unescape(page)
    assert '"event_name": "CheckoutSuccess"' in text
    assert '"B-2"' in text
    assert [*forms.desk.store.snapshot.webhooks] == ["of-file"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": ""}, "f-name"),
        ({"event": "*"}, "f-event"),
        ({"application": "no code"}, "f-application"),
        ({"identify.field": "user..id"}, "f-identify-field"),
        ({"identify.field": "items[*].sku"}, "f-identify-field"),
        ({"row.0.path": "["}, "f-row-0-path"),
        ({"row.0.path": ""}, "f-row-0-path"),
        ({"row.1.attribute": "total"}, "f-row-1-attribute"),
        ({"row.0.attribute": "__webhook"}, "f-row-0-path"),
        ({"sample": "[]"}, "f-sample"),
        ({"id": "new"}, "f-id"),
        ({"id": "No!"}, "f-id"),
    ],
    ids=str,
)
async def test_a_mistake_is_told_beside_its_input_and_nothing_is_made(
    browser: Browser, forms: Forms, change: dict[str, str], where: str
) -> None:
    status, page = await browser.send("/webhooks/new", {**FORM, **change})

    assert (status, f'href="#{where}"' in page) == (422, True)
    described = re.search(rf'id="{where}"[^>]*aria-describedby="([^"]*)"', page)
    assert described is not None, "whoever hears the page hears at the input what is wrong"
    assert described[1].split()[0] == f"{where}-problem-1"
    assert f'id="{where}-problem-1"' in page
    assert [*forms.desk.store.snapshot.webhooks] == ["of-file"]


async def test_a_change_keeps_the_secret_and_what_the_form_does_not_hold(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    secret = forms.settings.secret
    page = await browser.see("/webhooks/orders-of-the-shop/edit")
    revision = re.search('name="revision" value="([^"]+)"', page)
    assert revision is not None
    status, _ = await browser.send(
        "/webhooks/orders-of-the-shop/edit",
        {**fields_of(page), **FORM, "event": "Bought", "revision": unescape(revision[1])},
    )

    assert (status, forms.settings.event, forms.settings.secret) == (303, "Bought", secret)


async def test_a_change_of_what_was_changed_meanwhile_is_not_made(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    status, page = await browser.send(
        "/webhooks/orders-of-the-shop/edit", {**FORM, "event": "Bought", "revision": '"999"'}
    )

    assert (status, "Not saved." in page, forms.settings.event) == (412, True, "CheckoutSuccess")


async def test_a_new_secret_is_shown_once_and_the_old_one_stays_valid(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    before = forms.settings.secret.get_secret_value()
    status, page = await browser.send("/webhooks/orders-of-the-shop/rotate", {})
    settings = forms.settings

    assert (status, f"Bearer {settings.secret.get_secret_value()}" in page, before in page) == (200, True, False)
    assert (settings.previous_secret.get_secret_value(), settings.secret.get_secret_value() != before) == (before, True)


async def test_switching_off_and_on_keeps_all_else(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    before = forms.settings
    await browser.send("/webhooks/orders-of-the-shop/disable", {})
    is_off = not forms.settings.enabled
    await browser.send("/webhooks/orders-of-the-shop/enable", {})

    assert (is_off, forms.settings) == (True, before)


async def test_deleting_takes_the_revision_that_was_seen(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    refused, _ = await browser.send("/webhooks/orders-of-the-shop/delete", {})
    revision = forms.desk.store.snapshot.webhooks["orders-of-the-shop"].stored.revision
    done, _ = await browser.send("/webhooks/orders-of-the-shop/delete", {"revision": f'"{revision}"'})

    assert (refused, done, [*forms.desk.store.snapshot.webhooks]) == (428, 303, ["of-file"])


async def test_a_webhook_of_the_file_is_shown_and_not_changed(browser: Browser, forms: Forms) -> None:
    page = await browser.see("/webhooks/of-file/edit")
    status, _ = await browser.send("/webhooks/of-file/edit", {**FORM, "revision": '"file"'})

    assert ("stands in faust.yml" in page, 'value="save"' in page, "s" * 20 in page) == (True, False, False)
    assert status == 409


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 403)])
async def test_only_an_admin_makes_webhooks(serve: Serve, forms: Forms, role: str, status: int) -> None:
    served = await serve(ViewSettings(tokens=TOKENS), forms.register)
    async with served.client() as client:
        browser = Browser(client)
        await browser.sign_in(role)
        await browser.see("/webhooks/new")
        made, _ = await browser.send("/webhooks/new", FORM)
        tried, _ = await browser.send("/webhooks/new", {**FORM, "act": "preview"})

    assert (made, tried, [*forms.desk.store.snapshot.webhooks]) == (status, 200, ["of-file"])


async def test_a_sample_is_masked_for_those_who_see_no_payloads(serve: Serve, forms: Forms) -> None:
    served = await serve(ViewSettings(tokens=TOKENS, mask={"viewer": ["payload", "email"]}), forms.register)
    async with served.client() as client:
        browser = Browser(client)
        await browser.sign_in("viewer")
        pages = [await browser.see(f"/webhooks/of-file/{page}") for page in ("edit", "url", "edit.json", "url.json")]

    assert not any("jane@example.com" in page for page in pages)


async def test_the_url_page_is_there_for_programs_too(browser: Browser, forms: Forms) -> None:
    await browser.send("/webhooks/new", FORM)
    told = json.loads(await browser.see("/webhooks/orders-of-the-shop/url.json"))

    assert told["facts"]["url"] == "https://hooks.example/webhooks/orders-of-the-shop"
    assert forms.settings.secret.get_secret_value() not in json.dumps(told)
