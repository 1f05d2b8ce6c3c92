"""Integrations over HTTP, as programs and browsers change them: real sockets, and a real endpoint for what is tried."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml

from pipeline.integrations.secrets import KEEP
from pipeline.view.settings import Token, ViewSettings
from tests.integration.view.conftest import Serve
from tests.support.endpoint import reply, serving
from tests.support.kept_integrations import Desk

ROOT = "/api/v1/integrations"
VIEWER, OPERATOR, ADMIN = "ana-viewer-token-1", "ops-operator-token-1", "adm-admin-token-12345"
TOKENS = ViewSettings(
    tokens=[
        Token(name="ana", role="viewer", token=VIEWER),
        Token(name="ops", role="operator", token=OPERATOR),
        Token(name="adm", role="admin", token=ADMIN),
    ]
)
IN_FILE = {"id": "of-file", "kind": "email", "url": "https://mail.example/", "authorization": "hush-in-file"}
CRM: dict[str, Any] = {
    "id": "crm",
    "kind": "http",
    "url": "https://crm.example/events?key=hush-key",
    "authorization": "Bearer hush-token",
    "events": ["Email Sent"],
    "platforms": ["*"],
    "signing": {"secrets": ["whsec_" + "A" * 32]},
}
SECRETS = ("hush", "whsec_AAAA")


class At(NamedTuple):
    """The API as somebody with a role meets it."""

    url: str
    desk: Desk
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, body as JSON (or text), headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, path, json=body, headers=sent) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json and text else text, answer.headers

    async def made(self, settings: dict[str, Any] = CRM) -> str:
        """Make an integration; its ETag."""
        status, body, headers = await self.ask("POST", ROOT, settings)
        assert status == 201, body
        return str(headers["ETag"])


As = Callable[..., Awaitable[At]]


@pytest.fixture
async def as_(serve: Serve) -> AsyncIterator[As]:
    """``await as_(token)``: a program with this token; all of one test meet the same integrations."""
    desk = Desk(IN_FILE)
    sessions: list[aiohttp.ClientSession] = []
    served = await serve(TOKENS, desk.register)

    async def begin(token: str = ADMIN) -> At:
        session = aiohttp.ClientSession(served.url, headers={"Authorization": f"Bearer {token}"})
        sessions.append(session)
        return At(served.url, desk, session)

    yield begin
    for session in sessions:
        await session.close()


async def test_what_is_made_can_be_read(as_: As) -> None:
    admin = await as_()

    status, body, headers = await admin.ask("POST", ROOT, CRM)

    assert (status, headers["Location"]) == (201, f"{ROOT}/crm")
    assert (await admin.ask("GET", f"{ROOT}/crm"))[1] == body["integration"]
    assert headers["ETag"] == (await admin.ask("GET", f"{ROOT}/crm"))[2]["ETag"]


async def test_no_answer_and_no_audit_entry_holds_a_secret(as_: As) -> None:
    admin = await as_()
    tag = await admin.made()
    answers = [
        await admin.ask("GET", ROOT),
        await admin.ask("GET", f"{ROOT}/crm"),
        await admin.ask("GET", f"{ROOT}.yaml"),
        await admin.ask("PUT", f"{ROOT}/crm", CRM | {"authorization": "hush\n"}, If_Match=tag),
        await admin.ask("PUT", f"{ROOT}/crm", CRM | {"authorization": "Bearer hush-other"}, If_Match=tag),
        await admin.ask("POST", f"{ROOT}/import", {"yaml": yaml.safe_dump([CRM])}),
        await admin.ask("GET", "/integrations/crm/edit"),
        await admin.ask("GET", "/integrations/crm/edit.json"),
        await admin.ask("GET", "/integrations/of-file/duplicate"),
    ]

    shown = json.dumps(
        [[body, dict(headers)] for _, body, headers in answers] + [admin.desk.store.audit()], default=str
    )

    assert not any(secret in shown for secret in SECRETS)


async def test_secrets_that_are_kept_stay(as_: As) -> None:
    admin = await as_()
    tag = await admin.made()
    shown = (await admin.ask("GET", f"{ROOT}/crm"))[1]["settings"]

    status, _, _ = await admin.ask("PUT", f"{ROOT}/crm", shown | {"timeout": "5s"}, If_Match=tag)

    entry = admin.desk.store.snapshot.by_id()["crm"]
    assert status == 200
    assert entry.stored is not None
    assert entry.stored.settings == CRM | {"timeout": "5s"}


async def test_a_change_needs_the_revision_that_was_seen(as_: As) -> None:
    admin = await as_()
    tag = await admin.made()

    without = await admin.ask("PUT", f"{ROOT}/crm", CRM)
    first = await admin.ask("PUT", f"{ROOT}/crm", CRM | {"timeout": "5s"}, If_Match=tag)
    second = await admin.ask("PUT", f"{ROOT}/crm", CRM | {"timeout": "6s"}, If_Match=tag)

    assert [status for status, _, _ in (without, first, second)] == [428, 200, 412]
    assert (await admin.ask("GET", f"{ROOT}/crm"))[1]["settings"]["timeout"] == "5s"


async def test_of_many_changes_at_once_one_is_made(as_: As) -> None:
    admin = await as_()
    tag = await admin.made()

    answers = await asyncio.gather(
        *(admin.ask("PUT", f"{ROOT}/crm", CRM | {"timeout": f"{n}s"}, If_Match=tag) for n in range(1, 9))
    )

    assert sorted(status for status, _, _ in answers) == [200] + [412] * 7


@pytest.mark.parametrize("tag", ['"1', "W/", '"999999999999999999999"', "nonsense", '""', "\u00fc"])
async def test_odd_tags_match_nothing(as_: As, tag: str) -> None:
    admin = await as_()
    await admin.made()

    assert (await admin.ask("DELETE", f"{ROOT}/crm", If_Match=tag))[0] == 412


async def test_what_is_removed_is_gone(as_: As) -> None:
    admin = await as_()
    tag = await admin.made()

    assert (await admin.ask("DELETE", f"{ROOT}/crm", If_Match=tag))[0] == 204
    assert (await admin.ask("GET", f"{ROOT}/crm"))[0] == 404


async def test_every_mistake_is_named_by_its_key(as_: As) -> None:
    admin = await as_()

    status, body, _ = await admin.ask(
        "POST", ROOT, {"id": "X!", "kind": "http", "url": "ftp://x", "bogus": 1, "lanes": 0}
    )

    assert status == 422
    assert {each["key"] for each in body["problems"]} == {"id", "url", "bogus", "lanes", "events", "platforms"}
    assert (await admin.ask("GET", ROOT))[1]["matching"] == 1


async def test_an_id_that_is_taken_is_a_conflict(as_: As) -> None:
    admin = await as_()
    await admin.made()

    assert (await admin.ask("POST", ROOT, CRM))[0] == 409
    assert (await admin.ask("POST", ROOT, CRM | {"id": "of-file"}))[0] == 409


async def test_those_of_the_file_are_read_only(as_: As) -> None:
    admin = await as_()
    _, shown, headers = await admin.ask("GET", f"{ROOT}/of-file")

    status, body, _ = await admin.ask("PUT", f"{ROOT}/of-file", shown["settings"], If_Match=headers["ETag"])

    assert (status, shown["origin"]) == (409, "file")
    assert "faust.yml" in body["error"]


async def test_switching_off_and_on_changes_nothing_else(as_: As) -> None:
    admin = await as_()
    await admin.made()
    operator = await as_(OPERATOR)

    off = await operator.ask("POST", f"{ROOT}/crm/disable")
    on = await operator.ask("POST", f"{ROOT}/crm/enable", If_Match=off[2]["ETag"])

    assert (off[1]["integration"]["enabled"], on[1]["integration"]["enabled"]) == (False, True)
    assert admin.desk.store.snapshot.by_id()["crm"].stored.settings == CRM | {"enabled": True}


async def test_a_copy_has_the_secrets_and_takes_no_events(as_: As) -> None:
    admin = await as_()

    status, body, _ = await admin.ask("POST", f"{ROOT}/of-file/duplicate", {"id": "copy"})

    assert (status, body["integration"]["enabled"]) == (201, False)
    assert admin.desk.store.snapshot.by_id()["copy"].stored.settings["authorization"] == "hush-in-file"


@pytest.mark.parametrize(
    ("token", "method", "path", "allowed"),
    [
        (VIEWER, "GET", ROOT, True),
        (VIEWER, "GET", f"{ROOT}/of-file", True),
        (VIEWER, "GET", f"{ROOT}.yaml", False),
        (VIEWER, "POST", ROOT, False),
        (VIEWER, "POST", f"{ROOT}/of-file/disable", False),
        (VIEWER, "POST", f"{ROOT}/of-file/test", False),
        (OPERATOR, "POST", ROOT, False),
        (OPERATOR, "PUT", f"{ROOT}/of-file", False),
        (OPERATOR, "DELETE", f"{ROOT}/of-file", False),
        (OPERATOR, "POST", f"{ROOT}/of-file/duplicate", False),
        (OPERATOR, "POST", f"{ROOT}/import", False),
        (OPERATOR, "POST", f"{ROOT}/test", False),
        (OPERATOR, "POST", f"{ROOT}/of-file/disable", True),
        (OPERATOR, "POST", "/integrations/of-file/delete", False),
    ],
)
async def test_each_role_may_do_its_part(as_: As, token: str, method: str, path: str, *, allowed: bool) -> None:
    somebody = await as_(token)

    status, _, _ = await somebody.ask(method, path, {} if method in {"POST", "PUT"} else None)

    assert (status != 403) is allowed


@pytest.mark.parametrize("act", ["save", "test", "doctor"])
async def test_who_may_only_look_cannot_send_the_form(as_: As, act: str) -> None:
    viewer = await as_(VIEWER)

    async with viewer.session.post("/integrations/of-file/edit", data={"act": act}) as answer:
        assert answer.status == 403


async def test_lists_filter_sort_and_page(as_: As) -> None:
    admin = await as_()
    for number in range(5):
        await admin.made({"id": f"m{number}", "kind": "email", "url": f"https://m{number}.example/"})

    first = (await admin.ask("GET", f"{ROOT}?origin=stored&sort=-id&size=2&facet=kind"))[1]
    second = (await admin.ask("GET", f"{ROOT}?origin=stored&sort=-id&size=2&after={first['next']}"))[1]

    assert [each["id"] for each in first["integrations"] + second["integrations"]] == ["m4", "m3", "m2", "m1"]
    assert (first["matching"], first["facets"]) == (5, {"kind": [["email", 5]]})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"\\ud800"', b"\xff", b"[" * 100_000, b'{"a":' * 50 + b"1" + b"}" * 50]
)
async def test_bodies_that_are_no_object_are_refused(as_: As, body: bytes) -> None:
    admin = await as_()

    async with admin.session.post(ROOT, data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "../../etc/passwd", "\u202ecrm", "x" * 100_000, "crm\x00", "=1+1", "new"]
)
async def test_hostile_ids_are_refused_and_nothing_is_kept(as_: As, hostile: str) -> None:
    admin = await as_()

    assert (await admin.ask("POST", ROOT, CRM | {"id": hostile}))[0] == 422
    assert (await admin.ask("GET", ROOT))[1]["matching"] == 1


async def test_a_preview_counts_what_settings_would_match(as_: As) -> None:
    viewer = await as_(VIEWER)
    settings = {key: value for key, value in CRM.items() if key not in {"authorization", "signing"}}

    status, body, _ = await viewer.ask("POST", f"{ROOT}/preview", {"settings": settings, "events": 50})

    assert status == 200
    assert (body["events"], body["matching"], body["estimate"]) == (50, 25, 50)
    assert (body["by_platform"], body["kept_away"]["events"], len(body["samples"])) == ({"Email": 25}, 25, 10)


async def test_samples_are_masked_by_role(as_: As) -> None:
    admin, viewer = await as_(), await as_(VIEWER)
    asked = {"id": "of-file"}

    seen_by_viewer = (await viewer.ask("POST", f"{ROOT}/preview", asked))[1]["samples"][0]
    seen_by_admin = (await admin.ask("POST", f"{ROOT}/preview", asked))[1]["samples"][0]

    assert seen_by_admin["email"] == "ana@mail.example"
    assert not {"ana@mail.example", seen_by_admin["user_id"], seen_by_admin["hwid"]} & set(
        map(str, seen_by_viewer.values())
    )


async def test_a_preview_is_the_same_as_page_json_and_csv(as_: As) -> None:
    viewer = await as_(VIEWER)
    path = "/integrations/of-file/preview"

    page = (await viewer.ask("GET", f"{path}.json?events=100"))[1]
    table = (await viewer.ask("GET", f"{path}.csv?section=by_event_name&events=100"))[1]
    html = (await viewer.ask("GET", f"{path}?events=100"))[1]

    assert page["sections"]["by_event_name"]["rows"] == [{"event_name": "Email Sent", "events": 50, "estimate": 50}]
    assert table.splitlines()[-1] == "Email Sent,50,50"
    assert "50 of 100 events would have been sent" in html
    assert "<script>alert" not in html


async def test_a_test_event_shows_what_went_and_what_came_and_no_secret(as_: As) -> None:
    admin = await as_()
    async with serving(reply(200, b'{"echo": "Bearer hush-token"}')) as endpoint:
        await admin.made(CRM | {"url": f"{endpoint.url()}?key=hush-key"})

        status, body, _ = await admin.ask("POST", f"{ROOT}/crm/test")

    (request,) = body["requests"]
    assert (status, body["is_delivered"], request["status"]) == (200, True, 200)
    assert request["headers"]["webhook-id"].startswith("crm~test:")
    assert json.loads(request["body"])[0]["event_name"] == "Email Sent"
    assert endpoint.seen[0].headers["authorization"] == "Bearer hush-token"
    assert not any(secret in json.dumps(body) for secret in SECRETS)


async def test_a_secret_that_an_endpoint_echoes_in_another_spelling_is_hidden_too(as_: As) -> None:
    admin = await as_()
    async with serving(reply(200, rb'{"echo": "Bearer hush\u002dtoken", "again": "hush%2Dtoken"}')) as endpoint:
        await admin.made(CRM | {"url": endpoint.url()})
        _, body, _ = await admin.ask("POST", f"{ROOT}/crm/test")

    assert body["requests"][0]["answer"] == '{"echo": "***", "again": "***"}'


async def test_settings_are_tried_before_they_are_saved_with_secrets_that_are_kept(as_: As) -> None:
    admin = await as_()
    async with serving(reply(500, b"no")) as endpoint:
        await admin.made()

        draft = {**CRM, "url": endpoint.url(), "authorization": KEEP, "signing": {"secrets": [f"{KEEP}#1"]}}
        status, body, _ = await admin.ask("POST", f"{ROOT}/test", draft)

    assert (status, body["is_delivered"], body["requests"][0]["status"]) == (200, False, 500)
    assert endpoint.seen[0].headers["authorization"] == "Bearer hush-token"


async def test_the_doctor_answers_step_by_step(as_: As) -> None:
    admin, operator = await as_(), await as_(OPERATOR)
    async with serving(reply(200)) as endpoint:
        await admin.made(CRM | {"url": endpoint.url()})
        whole = (await operator.ask("POST", f"{ROOT}/crm/doctor"))[1]
        quiet = (await operator.ask("POST", f"{ROOT}/crm/doctor?send=0"))[1]

    assert [step["name"] for step in whole["steps"]] == ["configuration", "name", "connection", "test event"]
    assert (whole["is_well"], quiet["steps"][-1]["state"], len(endpoint.seen)) == (True, "skipped", 1)


async def test_what_is_sent_is_audited_before_it_goes(as_: As) -> None:
    admin, operator = await as_(), await as_(OPERATOR)
    async with serving(reply(200)) as endpoint:
        await admin.made(CRM | {"url": endpoint.url()})
        await operator.ask("POST", f"{ROOT}/crm/test")

    newest = admin.desk.store.audit()[0]
    assert (newest["who"], newest["role"], newest["what"], newest["target"]) == (
        "ops",
        "operator",
        "test event sent",
        "crm",
    )


async def test_where_deliveries_may_not_go_nothing_is_tried(as_: As) -> None:
    admin = await as_()

    status, body, _ = await admin.ask("POST", f"{ROOT}/test", CRM | {"url": "https://169.254.169.254/latest"})

    assert (status, body["problems"][0]["key"]) == (422, "url")


async def test_an_import_shows_first_and_then_does(as_: As) -> None:
    admin = await as_()
    await admin.made()
    text = (await admin.ask("GET", f"{ROOT}.yaml?id=crm"))[1].replace("Email Sent", "Push Sent")
    text += "  - {id: mail, kind: email, url: 'https://mail.example/'}\n"

    dry = (await admin.ask("POST", f"{ROOT}/import", {"yaml": text, "dry_run": True}))[1]
    before = (await admin.ask("GET", ROOT))[1]["matching"]
    done = (await admin.ask("POST", f"{ROOT}/import", {"yaml": text}))[1]

    assert (dry["applied"], dry["counts"], before) == (False, {"create": 1, "replace": 1, "same": 0, "refused": 0}, 2)
    assert dry["integrations"][0]["differences"] == [
        {"key": "events", "before": ["Email Sent"], "after": ["Push Sent"]}
    ]
    assert (done["applied"], done["counts"]) == (True, dry["counts"])
    assert admin.desk.store.snapshot.by_id()["crm"].stored.settings == CRM | {"events": ["Push Sent"]}


async def test_an_import_with_a_mistake_does_nothing(as_: As) -> None:
    admin = await as_()
    text = "- {id: mail, kind: email, url: 'https://mail.example/'}\n- {id: crm, kind: htp}\n"

    async with admin.session.post(f"{ROOT}/import", data=text, headers={"Content-Type": "application/yaml"}) as answer:
        body = await answer.json()

    assert (answer.status, body["applied"], body["problems"][0]["line"]) == (422, False, 2)
    assert (await admin.ask("GET", ROOT))[1]["matching"] == 1


@pytest.mark.parametrize("name", ["new", "import"])
async def test_an_import_makes_nothing_whose_page_could_not_be_reached(as_: As, name: str) -> None:
    admin = await as_()
    text = f"- {{id: {name}, kind: email, url: 'https://mail.example/'}}\n"

    status, body, _ = await admin.ask("POST", f"{ROOT}/import", {"yaml": text})

    assert (status, body["applied"], body["problems"][0]["key"]) == (422, False, "0.id")
    assert "address of a page" in body["problems"][0]["problem"]
    assert name not in admin.desk.store.snapshot


async def test_the_form_of_each_kind_is_served(as_: As) -> None:
    viewer = await as_(VIEWER)
    for kind in ("http", "grpc", "email", "xtremepush", "segment"):
        status, html, _ = await viewer.ask("GET", f"/integrations/new?kind={kind}")

        assert status == 200
        assert 'name="batch.max_events"' in html


async def test_the_kinds_are_offered_where_none_is_chosen(as_: As) -> None:
    viewer = await as_(VIEWER)

    assert "/integrations/new?kind=xtremepush" in (await viewer.ask("GET", "/integrations/new"))[1]


async def in_browser(serve: Serve, desk: Desk) -> tuple[aiohttp.ClientSession, Callable[[str], Awaitable[str]]]:
    """A browser on a view that is open to all, and what gives it a page's CSRF token."""
    served = await serve(ViewSettings(), desk.register)
    session = served.client()

    async def token_of(path: str) -> str:
        async with session.get(path) as answer:
            found = re.search(r'name="csrf_token" value="([^"]+)"', await answer.text())
            assert found, answer.status
            return found[1]

    return session, token_of


async def test_a_form_makes_an_integration(serve: Serve) -> None:
    desk = Desk()
    session, token_of = await in_browser(serve, desk)
    async with session:
        given = {
            "csrf_token": await token_of("/integrations/new?kind=http"),
            "kind": "http",
            "act": "save",
            "id": "crm",
            "enabled": "true",
            "breaker.enabled": "true",
            "url": "https://crm.example/",
            "events": "Email Sent\r\nPush Sent",
            "platforms": "*",
        }
        async with session.post("/integrations/new", data=given, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/integrations/crm")

    stored = desk.store.snapshot.by_id()["crm"].stored
    assert stored is not None
    assert stored.settings == {
        "id": "crm",
        "kind": "http",
        "url": "https://crm.example/",
        "events": ["Email Sent", "Push Sent"],
        "platforms": ["*"],
    }


async def test_mistakes_come_back_at_their_fields_with_what_was_written(serve: Serve) -> None:
    session, token_of = await in_browser(serve, Desk())
    async with session:
        given = {
            "csrf_token": await token_of("/integrations/new?kind=http"),
            "kind": "http",
            "url": 'ftp://x"><script>',
            "id": "crm",
        }
        async with session.post("/integrations/new", data=given) as answer:
            html = await answer.text()

    assert answer.status == 422
    assert 'href="#f-url"' in html
    assert "must begin with https://" in html
    assert "<script>" not in html.partition("</head>")[2]
    assert "ftp://x&#34;&gt;&lt;script&gt;" in html


async def test_two_people_who_edit_at_once_do_not_undo_each_other_unawares(serve: Serve) -> None:
    desk = Desk()
    session, token_of = await in_browser(serve, desk)
    async with session:
        await session.post(ROOT, json={"id": "mail", "kind": "email", "url": "https://mail.example/"})
        token = await token_of("/integrations/mail/edit")
        given = {"csrf_token": token, "act": "save", "id": "mail", "revision": '"1"', "url": "https://a.example/"}
        await session.post("/integrations/mail/edit", data=given, allow_redirects=False)
        async with session.post("/integrations/mail/edit", data=given | {"url": "https://b.example/"}) as answer:
            html = await answer.text()

    assert answer.status == 412
    assert "Not saved." in html
    assert "mail was changed meanwhile, by local: it is at revision 2 now" in html
    assert "If-Match" not in html
    assert 'value="&#34;2&#34;"' in html  # saving once more is deliberate
    assert 'value="https://b.example/"' in html
    assert desk.store.snapshot.by_id()["mail"].integration.url == "https://a.example/"


async def test_who_removes_one_is_told_that_what_it_holds_is_not_delivered(serve: Serve) -> None:
    desk = Desk()
    session, token_of = await in_browser(serve, desk)
    async with session:
        await session.post(ROOT, json={"id": "mail", "kind": "email", "url": "https://mail.example/"})
        async with session.get("/integrations/mail/edit") as answer:
            asked = await answer.text()
        given = {"csrf_token": await token_of("/integrations/mail/edit"), "revision": '"1"'}
        async with session.post(
            "/integrations/mail/delete", data=given, headers={"Accept": "application/json"}
        ) as answer:
            told = (await answer.json())["message"]

    assert "what it holds is not delivered but parked" in asked
    assert told == "mail is removed; what it held is parked"


async def test_a_preview_of_what_stands_in_the_form_saves_nothing(serve: Serve) -> None:
    desk = Desk()
    session, token_of = await in_browser(serve, desk)
    async with session:
        given = {
            "csrf_token": await token_of("/integrations/new?kind=http"),
            "kind": "http",
            "act": "preview",
            "id": "crm",
            "url": "https://crm.example/",
            "events": "Push Sent",
            "platforms": "*",
        }
        async with session.post("/integrations/new", data=given) as answer:
            html = await answer.text()

    assert answer.status == 200
    assert "50 of 100 events would have been sent" in html
    assert not desk.store.snapshot.by_id()


async def test_a_copy_keeps_secrets_through_its_form(serve: Serve) -> None:
    desk = Desk(IN_FILE)
    session, token_of = await in_browser(serve, desk)
    async with session:
        given = {
            "csrf_token": await token_of("/integrations/of-file/duplicate"),
            "act": "save",
            "id": "copy",
            "url": "https://mail.example/",
            "authorization": KEEP,
        }
        async with session.post("/integrations/of-file/duplicate", data=given, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/integrations/copy"

    stored = desk.store.snapshot.by_id()["copy"].stored
    assert stored is not None
    assert stored.settings["authorization"] == "hush-in-file"


async def test_an_import_in_the_browser_shows_first(serve: Serve) -> None:
    desk = Desk()
    session, token_of = await in_browser(serve, desk)
    async with session:
        given = {
            "csrf_token": await token_of("/integrations/import"),
            "yaml": "- {id: mail, kind: email, url: 'https://mail.example/', authorization: '${TOKEN}'}",
            "variables": "TOKEN=hush\n",
        }
        async with session.post("/integrations/import", data=given | {"act": "check"}) as answer:
            html = await answer.text()
        assert "1 would be made" in html
        assert not desk.store.snapshot.by_id()

        async with session.post(
            "/integrations/import", data=given | {"act": "import"}, allow_redirects=False
        ) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/integrations")

    stored = desk.store.snapshot.by_id()["mail"].stored
    assert stored is not None
    assert stored.settings["authorization"] == "hush"


async def test_the_document_tells_of_every_route_of_the_api(as_: As) -> None:
    viewer = await as_(VIEWER)

    status, found, _ = await viewer.ask("GET", "/api/v1/openapi.json")

    assert status == 200
    assert set(found["paths"][f"{ROOT}/{{id}}"]) == {"get", "put", "delete"}
    assert "/integrations/{id}/preview.json" in found["paths"]
