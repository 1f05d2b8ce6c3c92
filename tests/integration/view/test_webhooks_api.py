"""Webhooks over HTTP, as programs change them: real sockets, and the rules that the leader goes by."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml

from pipeline.integrations.secrets import KEEP
from pipeline.view.settings import Token, ViewSettings
from tests.integration.view.conftest import Serve
from tests.support.kept_integrations import Desk

ROOT = "/api/v1/webhooks"
VIEWER, OPERATOR, ADMIN = "ana-viewer-token-1", "ops-operator-token-1", "adm-admin-token-12345"
TOKENS = ViewSettings(
    tokens=[
        Token(name="ana", role="viewer", token=VIEWER),
        Token(name="ops", role="operator", token=OPERATOR),
        Token(name="adm", role="admin", token=ADMIN),
    ]
)
OF_FILE = "secret-of-the-file"


def orders(**keys: Any) -> dict[str, Any]:
    return {
        "name": "New orders",
        "event": "OrderPlaced",
        "application": "32E5A-9B411",
        "identify": {"by": "email", "field": "customer.email"},
        "attributes": {"total": "order.total"},
        "sample": '{"customer": {"email": "jane@example.com"}, "order": {"total": 5}}',
        **keys,
    }


class At(NamedTuple):
    """The API as somebody with a role meets it."""

    desk: Desk
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str = ROOT, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, body as JSON (or text), headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, path, json=body, headers=sent) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json and text else text, answer.headers

    async def made(self, **keys: Any) -> tuple[dict[str, Any], str]:
        """Make a webhook; what was answered, and its ETag."""
        status, body, headers = await self.ask("POST", ROOT, orders(**keys))
        assert status == 201, body
        return body, headers["ETag"]


As = Callable[..., Awaitable[At]]


@pytest.fixture
async def as_(serve: Serve) -> AsyncIterator[As]:
    """``await as_(token)``: a program with this token; all of one test meet the same webhooks."""
    in_file = orders(id="of-file", secret=OF_FILE)
    desk = Desk(inbound={"public_url": "https://hooks.example/in/", "webhooks": [in_file]})
    sessions: list[aiohttp.ClientSession] = []
    served = await serve(TOKENS, desk.register)

    async def begin(token: str = ADMIN) -> At:
        session = aiohttp.ClientSession(served.url, headers={"Authorization": f"Bearer {token}"})
        sessions.append(session)
        return At(desk, session)

    yield begin
    for session in sessions:
        await session.close()


async def test_what_is_made_tells_where_and_with_what_it_is_called(as_: As) -> None:
    admin = await as_()

    status, body, headers = await admin.ask("POST", ROOT, orders())

    assert (status, headers["Location"], headers["Cache-Control"]) == (201, f"{ROOT}/new-orders", "no-store")
    assert body["webhook"]["url"] == "https://hooks.example/in/webhooks/new-orders"
    assert body["authorization"] == f"Bearer {body['secret']}"
    assert (await admin.ask("GET", f"{ROOT}/new-orders"))[1] == body["webhook"]


async def test_ids_that_are_made_of_names_are_free(as_: As) -> None:
    admin = await as_()

    made = [
        (await admin.made(name=name))[0]["webhook"]["id"] for name in ("New orders", "New  orders", "New", "Import")
    ]

    assert made == ["new-orders", "new-orders-2", "new-2", "import-2"]


async def test_a_secret_is_told_once(as_: As) -> None:
    admin = await as_()
    made, tag = await admin.made()
    rotated = (await admin.ask("POST", f"{ROOT}/new-orders/rotate"))[1]
    answers = [
        await admin.ask("GET"),
        await admin.ask("GET", f"{ROOT}/new-orders"),
        await admin.ask("GET", f"{ROOT}.yaml"),
        await admin.ask("POST", f"{ROOT}/new-orders/disable"),
        await admin.ask("PUT", f"{ROOT}/new-orders", orders(), If_Match="*"),
        await admin.ask("POST", f"{ROOT}/import", {"yaml": yaml.safe_dump([orders(id="new-orders")])}),
    ]

    told = json.dumps([[body, dict(headers)] for _, body, headers in answers] + [admin.desk.store.audit()])

    assert tag == '"1"'
    assert not any(secret in told for secret in (made["secret"], rotated["secret"], OF_FILE))


async def test_a_new_secret_leaves_the_old_one_valid_for_as_long_as_was_said(as_: As) -> None:
    admin = await as_()
    made, tag = await admin.made()

    status, body, headers = await admin.ask("POST", f"{ROOT}/new-orders/rotate", {"valid_for": "1h"}, If_Match=tag)

    stored = admin.desk.store.snapshot.webhooks["new-orders"].stored
    assert stored is not None
    assert (status, headers["ETag"], stored.settings["previous_secret"]) == (200, '"2"', made["secret"])
    assert body["secret"] == stored.settings["secret"] != made["secret"]
    assert body["webhook"]["previous_until"] - body["webhook"]["changed_at"] == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"valid_for": "31d"}, 422),
        ({"valid_for": 5}, 422),
        ({"valid_for": "soon"}, 422),
        ({"valid": "1h"}, 400),
        ([], 400),
    ],
)
async def test_odd_times_of_rotation_are_refused(as_: As, body: Any, status: int) -> None:
    admin = await as_()
    await admin.made()

    assert (await admin.ask("POST", f"{ROOT}/new-orders/rotate", body))[0] == status
    assert admin.desk.store.snapshot.revision == 1


async def test_what_was_read_can_be_sent_back(as_: As) -> None:
    admin = await as_()
    await admin.made()
    await admin.ask("POST", f"{ROOT}/new-orders/rotate")
    before = admin.desk.store.snapshot.webhooks["new-orders"].stored
    shown = (await admin.ask("GET", f"{ROOT}/new-orders"))[1]["settings"]

    status, _, _ = await admin.ask("PUT", f"{ROOT}/new-orders", shown | {"event": "Paid"}, If_Match='"2"')

    after = admin.desk.store.snapshot.webhooks["new-orders"].stored
    assert before is not None
    assert after is not None
    assert (status, shown["secret"], shown["previous_secret"]) == (200, KEEP, KEEP)
    assert after.settings == {**before.settings, "event": "Paid"}


async def test_a_change_needs_the_revision_that_was_seen(as_: As) -> None:
    admin = await as_()
    _, tag = await admin.made()

    without = await admin.ask("PUT", f"{ROOT}/new-orders", orders(event="A"))
    first = await admin.ask("PUT", f"{ROOT}/new-orders", orders(event="B"), If_Match=tag)
    second = await admin.ask("PUT", f"{ROOT}/new-orders", orders(event="C"), If_Match=tag)
    removal = await admin.ask("DELETE", f"{ROOT}/new-orders", If_Match=tag)

    assert [status for status, _, _ in (without, first, second, removal)] == [428, 200, 412, 412]
    assert (await admin.ask("GET", f"{ROOT}/new-orders"))[1]["event"] == "B"


async def test_of_many_changes_at_once_one_is_made(as_: As) -> None:
    admin = await as_()
    _, tag = await admin.made()

    answers = await asyncio.gather(
        *(admin.ask("PUT", f"{ROOT}/new-orders", orders(event=f"E{n}"), If_Match=tag) for n in range(8))
    )

    assert sorted(status for status, _, _ in answers) == [200] + [412] * 7


async def test_what_is_removed_is_gone(as_: As) -> None:
    admin = await as_()
    _, tag = await admin.made()

    assert (await admin.ask("DELETE", f"{ROOT}/new-orders", If_Match=tag))[0] == 204
    assert (await admin.ask("GET", f"{ROOT}/new-orders"))[0] == 404


async def test_switching_off_and_on_changes_nothing_else(as_: As) -> None:
    admin = await as_()
    await admin.made()
    before = admin.desk.store.snapshot.webhooks["new-orders"].stored
    operator = await as_(OPERATOR)

    off = await operator.ask("POST", f"{ROOT}/new-orders/disable")
    on = await operator.ask("POST", f"{ROOT}/new-orders/enable", If_Match=off[2]["ETag"])

    after = admin.desk.store.snapshot.webhooks["new-orders"].stored
    assert (off[1]["webhook"]["enabled"], on[1]["webhook"]["enabled"]) == (False, True)
    assert before is not None
    assert after is not None
    assert after.settings == {**before.settings, "enabled": True}


async def test_those_of_the_file_are_read_only(as_: As) -> None:
    admin = await as_()
    _, shown, headers = await admin.ask("GET", f"{ROOT}/of-file")

    changed = await admin.ask("PUT", f"{ROOT}/of-file", shown["settings"], If_Match=headers["ETag"])
    rotated = await admin.ask("POST", f"{ROOT}/of-file/rotate")
    made = await admin.ask("POST", ROOT, orders(id="of-file"))

    assert (shown["origin"], headers["ETag"], shown["settings"]["secret"]) == ("file", '"file"', KEEP)
    assert [status for status, _, _ in (changed, rotated, made)] == [409] * 3
    assert "faust.yml" in changed[1]["error"]


async def test_every_mistake_is_named_by_its_key(as_: As) -> None:
    admin = await as_()

    status, body, _ = await admin.ask("POST", ROOT, {"name": "x", "identify": {"by": "name"}, "bogus": 1})

    assert status == 422
    assert {each["key"] for each in body["problems"]} == {
        "event",
        "application",
        "identify.by",
        "identify.field",
        "bogus",
    }


@pytest.mark.parametrize(
    "hostile", ["<script>", "../../etc/passwd", "\u202eorders", "x" * 65, "", 5, [], "new", "import"]
)
async def test_hostile_ids_are_refused_and_nothing_is_kept(as_: As, hostile: Any) -> None:
    admin = await as_()

    assert (await admin.ask("POST", ROOT, orders(id=hostile)))[0] == 422
    assert (await admin.ask("GET"))[1]["matching"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"\\ud800"', b"\xff", b"[" * 100_000])
async def test_bodies_that_are_no_object_are_refused(as_: As, body: bytes) -> None:
    admin = await as_()

    async with admin.session.post(ROOT, data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("token", "method", "path", "allowed"),
    [
        (VIEWER, "GET", ROOT, True),
        (VIEWER, "GET", f"{ROOT}/of-file", True),
        (VIEWER, "GET", f"{ROOT}.yaml", False),
        (VIEWER, "POST", f"{ROOT}/of-file/disable", False),
        (OPERATOR, "POST", ROOT, False),
        (OPERATOR, "PUT", f"{ROOT}/of-file", False),
        (OPERATOR, "DELETE", f"{ROOT}/of-file", False),
        (OPERATOR, "POST", f"{ROOT}/of-file/rotate", False),
        (OPERATOR, "POST", f"{ROOT}/import", False),
        (OPERATOR, "POST", f"{ROOT}/of-file/disable", True),
    ],
)
async def test_each_role_may_do_its_part(as_: As, token: str, method: str, path: str, *, allowed: bool) -> None:
    somebody = await as_(token)

    status, _, _ = await somebody.ask(method, path, {} if method in {"POST", "PUT"} else None)

    assert (status != 403) is allowed


async def test_a_sample_is_masked_by_role(as_: As) -> None:
    admin, viewer = await as_(), await as_(VIEWER)

    seen_by_admin = (await admin.ask("GET", f"{ROOT}/of-file"))[1]["settings"]["sample"]
    seen_by_viewer = (await viewer.ask("GET"))[1]["webhooks"][0]["settings"]["sample"]

    assert "jane@example.com" in seen_by_admin
    assert "jane@example.com" not in seen_by_viewer


async def test_a_masked_sample_that_is_sent_back_stays_what_it_is(serve: Serve) -> None:
    desk = Desk(inbound={})
    served = await serve(ViewSettings(mask={"admin": ["email"]}), desk.register)
    async with served.client() as session:
        await session.post(ROOT, json=orders())
        async with session.get(f"{ROOT}/new-orders") as answer:
            shown = (await answer.json())["settings"]
        await session.put(f"{ROOT}/new-orders", json=shown | {"event": "Paid"}, headers={"If-Match": "*"})
        async with session.get(f"{ROOT}.yaml") as answer:
            text = await answer.text()
        async with session.post(f"{ROOT}/import", json={"yaml": text}) as answer:
            same = await answer.json()
        other = text.replace(": 5", ": 6")
        async with session.post(f"{ROOT}/import", json={"yaml": other, "dry_run": True}) as answer:
            changed = await answer.json()

    webhook = desk.store.snapshot.webhooks["new-orders"].settings
    assert "jane@example.com" not in json.dumps([shown, text, same, changed])
    assert (webhook.sample, webhook.event) == (orders()["sample"], "Paid")
    assert (same["counts"]["same"], changed["webhooks"][0]["differences"][0]["key"]) == (1, "sample")


async def test_lists_filter_sort_and_page(as_: As) -> None:
    admin = await as_()
    for number in range(5):
        await admin.made(id=f"m{number}", event="Paid" if number % 2 else "Refunded")

    first = (await admin.ask("GET", f"{ROOT}?origin=stored&sort=-id&size=2&facet=event"))[1]
    second = (await admin.ask("GET", f"{ROOT}?origin=stored&sort=-id&size=2&after={first['next']}"))[1]

    assert [each["id"] for each in first["webhooks"] + second["webhooks"]] == ["m4", "m3", "m2", "m1"]
    assert (first["matching"], first["facets"]) == (5, {"event": [["Refunded", 3], ["Paid", 2]]})


async def test_an_import_shows_first_and_then_does(as_: As) -> None:
    admin = await as_()
    await admin.made()
    text = (await admin.ask("GET", f"{ROOT}.yaml?id=new-orders"))[1].replace("OrderPlaced", "Paid")
    text += yaml.safe_dump([orders(id="refunds", secret="${REFUNDS}")]).replace("\n", "\n    ").join(("    ", "\n"))
    asked = {"yaml": text, "variables": {"REFUNDS": "hush-secret-000001"}}

    dry = (await admin.ask("POST", f"{ROOT}/import", asked | {"dry_run": True}))[1]
    before = (await admin.ask("GET"))[1]["matching"]
    done = (await admin.ask("POST", f"{ROOT}/import", asked))[1]

    assert (dry["applied"], dry["counts"], before) == (False, {"create": 1, "replace": 1, "same": 0, "refused": 0}, 2)
    assert dry["webhooks"][0]["differences"] == [{"key": "event", "before": "OrderPlaced", "after": "Paid"}]
    assert (done["applied"], done["counts"]) == (True, dry["counts"])
    webhooks = admin.desk.store.snapshot.webhooks
    assert webhooks["refunds"].settings.secret.get_secret_value() == "hush-secret-000001"
    assert webhooks["new-orders"].settings.event == "Paid"


async def test_an_import_with_a_mistake_does_nothing(as_: As) -> None:
    admin = await as_()
    text = yaml.safe_dump([orders(id="refunds", secret="hush-secret-000001"), {"id": "b"}])

    async with admin.session.post(f"{ROOT}/import", data=text, headers={"Content-Type": "application/yaml"}) as answer:
        body = await answer.json()

    assert (answer.status, body["applied"], {each["key"] for each in body["problems"]}) == (
        422,
        False,
        {f"1.{key}" for key in ("name", "event", "application", "identify", "secret")},
    )
    assert (await admin.ask("GET"))[1]["matching"] == 1


async def test_without_a_listener_a_webhook_has_no_url(serve: Serve) -> None:
    served = await serve(ViewSettings(), Desk().register)

    async with served.client() as session, session.post(ROOT, json=orders()) as answer:
        body = await answer.json()

    assert (answer.status, body["webhook"]["url"]) == (201, None)
