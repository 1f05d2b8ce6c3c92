"""The view's server over real sockets: formats, sign-in, forms, limits, and what strangers try."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import aiohttp
import pytest
from markupsafe import escape
from yarl import URL

from agents.view.server import BEGIN_AFTER_S, Content, Done, View, Visit
from agents.view.web import SECURITY_HEADERS
from pipeline.errors import ConflictError, InvalidChangeError, NotFoundError, UnavailableError
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.coverage import Coverage, Shard
from pipeline.view.formats.events import Told
from pipeline.view.formats.html import filled
from pipeline.view.page import Page, Section
from pipeline.view.query import parse_query
from pipeline.view.roles import Role
from pipeline.view.settings import Proxy, SavedView, Token, ViewSettings
from tests.integration.view.conftest import Serve, Served

COLUMNS = (Column("key", "Key", Kind.CODE), Column("value", "Value"), Column("count", "Count", Kind.INTEGER))
ANA, OPS, ADMIN = "ana-viewer-token-1", "ops-operator-token-1", "adm-admin-token-12345"
TOKENS = ViewSettings(
    tokens=[
        Token(name="ana", role="viewer", token=ANA),
        Token(name="ops", role="operator", token=OPS, expires_at=1_700_000_000.0 + 3600),
        Token(name="adm", role="admin", token=ADMIN),
    ]
)
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "abc\u202egnp.exe",
    "lone \ud800 surrogate",
    "nul \0 and bell \a",
    '=HYPERLINK("http://x")',
    "+1+1",
    "@SUM(A1)",
    "\t=1",
    "line\r\nbreak",
    "x" * 100_000,
    "שלום",
]


async def rows_of(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


def list_page(rows: list[Row], coverage: Coverage | None = None) -> Any:
    async def handler(visit: Visit) -> Page:
        query = parse_query(visit.parameters, COLUMNS, key="key", sort="key")
        section = Section("rows", COLUMNS, rows_of(rows), f"{len(rows)} rows", query)
        if coverage is not None:
            section.coverage = coverage
        return Page("Rows", "page.html", [section], {"rows": len(rows)})

    return handler


SMALL = [{"key": f"k{index}", "value": "v", "count": index} for index in range(3)]


def small_pages(view: View) -> None:
    async def act(visit: Visit) -> Done:
        return Done(f"did it as {visit.person.name}", visit.url_for("/rows"), {"form": visit.form})

    async def admins(visit: Visit) -> Page:
        return Page("Admins", "page.html")

    view.page("/rows", list_page(SMALL), nav="Rows")
    view.page("/rows/{id}", list_page(SMALL))
    view.page("/admins", admins, role=Role.ADMIN, nav="Admins")
    view.action("/act", act)
    view.api("PUT", "/api/v1/things/{id}", act, Role.OPERATOR)


async def text_of(answer: aiohttp.ClientResponse) -> str:
    return (await answer.read()).decode()


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([0-9a-f]+)"', html) or re.search(
        r'value="([0-9a-f]+)"[^>]*name="csrf_token"', html
    )
    assert found, "no form with a token"
    return found[1]


async def sign_in(served: Served, client: aiohttp.ClientSession, token: str) -> aiohttp.ClientResponse:
    async with client.get("/sign-in") as form:
        csrf_token = csrf_of(await text_of(form))
    return await client.post(
        "/sign-in", data={"token": token, "csrf_token": csrf_token, "next": "/rows"}, allow_redirects=False
    )


# formats


async def test_the_three_formats_show_the_same_rows(serve: Serve) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client:
        html = await text_of(await client.get("/rows"))
        told = await (await client.get("/rows.json")).json()
        table = list(csv.reader(io.StringIO(await text_of(await client.get("/rows.csv")))))
    assert told["sections"]["rows"]["rows"] == SMALL
    assert table == [["key", "value", "count"], *[["k0", "v", "0"], ["k1", "v", "1"], ["k2", "v", "2"]]]
    assert [key for key in ("k0", "k1", "k2") if key in html] == ["k0", "k1", "k2"]


async def test_hostile_content_is_inert_in_every_format(serve: Serve) -> None:
    rows = [{"key": f"k{index}", "value": text, "count": index} for index, text in enumerate(HOSTILE)]
    served = await serve(register=lambda view: view.page("/rows", list_page(rows)))
    async with served.client() as client:
        html = await (await client.get("/rows")).read()
        raw = await (await client.get("/rows.json")).read()
        table = await (await client.get("/rows.csv")).read()
    assert b"<script>alert" not in html
    assert b"<img src=x" not in html
    assert "\u202e" not in html.decode()
    assert len(html) < 100_000
    told = json.loads(raw)["sections"]["rows"]["rows"]
    assert told[4]["value"] == "lone \\ud800 surrogate"
    assert told[0]["value"] == HOSTILE[0]
    assert told[11]["value"] == HOSTILE[11]
    assert raw.isascii()
    cells = [line[1] for line in csv.reader(io.StringIO(table.decode(), newline=""))][1:]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert "\u202e" not in table.decode()
    assert b"\0" not in table


async def test_a_value_cut_in_html_has_a_link_to_the_whole(serve: Serve) -> None:
    rows = [{"key": "long one", "value": "x" * 100_000, "count": 1}]
    served = await serve(register=lambda view: view.page("/rows", list_page(rows)))
    async with served.client() as client:
        html = await text_of(await client.get("/rows"))
        assert "/rows.json?key=long+one" in html
        told = await (await client.get("/rows.json?key=long+one")).json()
    assert len(told["sections"]["rows"]["rows"][0]["value"]) == 100_000


async def test_an_incomplete_answer_says_so_in_every_format(serve: Serve) -> None:
    coverage = Coverage((Shard("http://gone:6066", frozenset({1}), "silent"),), (1,))
    served = await serve(register=lambda view: view.page("/rows", list_page(SMALL, coverage)))
    async with served.client() as client:
        html = await text_of(await client.get("/rows"))
        told = await (await client.get("/rows.json")).json()
        partial = await client.get("/rows.csv")
        lines = (await text_of(partial)).splitlines()
        accepted = await client.get("/rows.csv?partial=ok")
    assert "http://gone:6066" in html
    assert told["coverage"]["complete"] is False
    assert (partial.status, accepted.status) == (206, 200)
    assert lines[0].startswith("# incomplete: http://gone:6066 did not answer")


async def test_an_answer_that_fails_midway_is_not_taken_for_a_whole_one(serve: Serve) -> None:
    async def failing(visit: Visit) -> Page:
        async def rows() -> AsyncIterator[Row]:
            for index in range(5000):
                yield {"key": str(index), "value": "x" * 100, "count": index}
            raise UnavailableError("a worker went away")

        return Page("Rows", "page.html", [Section("rows", COLUMNS, rows())])

    served = await serve(register=lambda view: view.page("/rows", failing))
    async with served.client() as client:
        for path in ("/rows.json", "/rows.csv"):
            async with client.get(path) as answer:
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()


async def test_a_name_with_an_extension_is_reached_by_its_link(serve: Serve) -> None:
    async def one(visit: Visit) -> Page:
        return Page(visit.match["id"], "page.html", facts={"link": visit.url_for("/things/{id}", id=visit.match["id"])})

    served = await serve(register=lambda view: view.page("/things/{id}", one))
    async with served.client() as client:
        for name in ("a.json", "b/c", "ü %", "..", "d.csv", "e?f#g", "plain"):
            link = filled("/things/{id}", {"id": name})
            async with client.get(URL(link, encoded=True)) as answer:
                assert answer.content_type == "text/html"
                assert f"<h1>{escape(name)}</h1>" in await text_of(answer)


@pytest.mark.parametrize("name", ["http://127.0.0.1:6066", "50%", "50%25", "a b", "ü", "crm:0-1~3"])
async def test_a_page_links_to_itself_whatever_its_name_holds(serve: Serve, name: str) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client:
        async with client.get(URL(filled("/rows/{id}", {"id": name}), encoded=True)) as answer:
            text = await text_of(answer)
        own = {unescape(each) for each in re.findall(r'href="(/rows/[^"]*)"', text)}
        assert len(own) > 3
        for link in own:
            async with client.get(URL(link, encoded=True)) as answer:
                assert answer.status == 200, link


@pytest.mark.parametrize("path", ["/rows", "/rows.json", "/rows.csv"])
async def test_a_column_that_there_is_not_is_told_and_not_left_out(serve: Serve, path: str) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client:
        async with client.get(f"{path}?cols=key,valeu") as answer:
            assert answer.status == 400
            assert "valeu" in await text_of(answer)
        async with client.get(f"{path}?cols=key,value") as answer:
            assert answer.status == 200


class Slow:
    """A page that is made when the test lets it; ``is_promised``: that there will be one is known before."""

    def __init__(self, error: Exception | None = None, *, is_promised: bool = False) -> None:
        self.lets_go = asyncio.Event()
        self._error = error
        self._is_promised = is_promised

    def register(self, view: View) -> None:
        view.page("/slow", self.show)
        view.page("/slow/{id}", self.show)

    async def show(self, visit: Visit) -> Page:
        if self._is_promised:
            visit.promise()
        await self.lets_go.wait()
        if self._error is not None:
            raise self._error
        return await list_page(SMALL)(visit)


@pytest.mark.parametrize(
    ("path", "is_promised"), [("/slow", False), ("/slow/7", True), ("/slow?count__gt=0", True), ("/slow/7?q=k", True)]
)
async def test_a_page_that_takes_long_is_begun_before_it_is_there(serve: Serve, path: str, *, is_promised: bool):
    slow = Slow(is_promised=is_promised)
    served = await serve(register=slow.register)
    async with served.client() as client, client.get(path) as answer:
        begun = await answer.content.readany()
        slow.lets_go.set()
        rest = await answer.read()
    assert answer.status == 200
    assert b"style.css" in begun
    assert b"<title>" not in begun
    whole = (begun + rest).decode()
    assert whole.count("<!doctype html>") == whole.count("<title>") == 1
    assert ">k2<" in whole
    assert whole.rstrip().endswith("</html>")


async def test_a_page_that_was_begun_and_cannot_be_made_says_why(serve: Serve):
    slow = Slow(UnavailableError("no worker answers"))
    served = await serve(register=slow.register)
    async with served.client() as client, client.get("/slow") as answer:
        await answer.content.readany()
        slow.lets_go.set()
        assert "no worker answers" in await text_of(answer)


@pytest.mark.parametrize(
    ("path", "is_promised"),
    [("/slow/7", False), ("/slow?q=7", False), ("/slow.json", True), ("/slow.csv", True), ("/slow?cols=valeu", True)],
)
async def test_a_page_is_not_begun_before_its_status_is_known(serve: Serve, path: str, *, is_promised: bool):
    slow = Slow(NotFoundError("there is no 7"), is_promised=is_promised)
    served = await serve(register=slow.register)
    async with served.client() as client:
        asking = asyncio.ensure_future(client.get(path))
        assert not (await asyncio.wait([asking], timeout=3 * BEGIN_AFTER_S))[0]
        slow.lets_go.set()
        assert (await asking).status == 404


# headers


@pytest.mark.parametrize("path", ["/rows", "/rows.json", "/rows.csv", "/nothing", "/sign-in", "/rows?size=0"])
async def test_everything_has_the_security_headers(serve: Serve, path: str) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client, client.get(path) as answer:
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers


async def test_static_files_are_kept_for_a_year_under_a_name_with_their_hash(serve: Serve) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client, client.get(served.view.static.url("style.css")) as answer:
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.content_type == "text/css"


# what strangers try


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/static/../../etc/passwd",
        "/static/000000000000/../../server.py",
        "/static/000000000000/..%2f..%2fserver.py",
        "/rows/%00",
        "/rows/%2e%2e",
        "/rows/..%5c..",
        "/rows/" + "a" * 5000,
        "//evil.example/rows",
        "/rows?nothing=1",
        "/rows?size=-1",
        "/rows?size=" + "9" * 900,
        "/rows?after=%ff%fe",
        "/rows?count__gt=nan",
        "/rows?key__like=x",
        "/rows?size=all",
        "/rows?" + "&".join("key=1" for _ in range(300)),
        "/rows.csv?section=none",
        "/rows/" + "a" * 20_000,
        "/nothing",
        "/rows.xml",
    ],
)
async def test_what_makes_no_sense_is_a_clear_4xx(serve: Serve, path: str) -> None:
    served = await serve(register=small_pages)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    assert 400 <= status < 500, path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_a_page_does_not_take_is_405_and_says_which_it_takes(serve: Serve, method: str) -> None:
    served = await serve(register=small_pages)
    async with served.client() as client, client.request(method, "/rows") as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]


async def test_a_page_with_a_mistake_is_500_and_the_next_request_is_answered(serve: Serve) -> None:
    async def broken(visit: Visit) -> Page:
        raise ZeroDivisionError

    def register(view: View) -> None:
        view.page("/broken", broken)
        small_pages(view)

    served = await serve(register=register)
    async with served.client() as client:
        assert (await client.get("/broken.json")).status == 500
        assert (await client.get("/rows.json")).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:6066", "127.0.0.1.evil.example", "[::2]", "0.0.0.0", "a@b"]
)
async def test_on_loopback_a_foreign_host_is_refused(serve: Serve, host: str) -> None:
    served = await serve(register=small_pages)
    async with served.client(headers={"Host": host}) as client, client.get("/rows.json") as answer:
        assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:99", "127.0.0.1", "[::1]:6066", "stream.example"])
async def test_own_names_are_answered(serve: Serve, host: str) -> None:
    served = await serve(ViewSettings(names=["stream.example"]), small_pages)
    async with served.client(headers={"Host": host}) as client, client.get("/rows.json") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no such thing"), 404),
        (ConflictError("changed meanwhile"), 412),
        (InvalidChangeError([("url", "is missing")]), 422),
        (UnavailableError("starting"), 503),
    ],
)
async def test_an_error_has_its_status_and_its_words_in_html_and_json(
    serve: Serve, error: Exception, status: int
) -> None:
    async def failing(visit: Visit) -> Page:
        raise error

    served = await serve(register=lambda view: view.page("/x", failing))
    async with served.client() as client:
        html, told = await client.get("/x"), await client.get("/x.json")
        assert (html.status, told.status) == (status, status)
        assert str(error).split(":")[0] in await text_of(html)
        assert (await told.json())["error"] == str(error)


# sign-in


async def test_without_a_token_a_browser_is_sent_to_sign_in_and_a_program_is_told(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        page = await client.get("/rows?key=k1", allow_redirects=False)
        assert (page.status, page.headers["Location"]) == (303, "/sign-in?next=%2Frows%3Fkey%3Dk1")
        told = await client.get("/rows.json")
        assert (told.status, told.headers["WWW-Authenticate"]) == (401, 'Bearer realm="distributary"')


async def test_a_bearer_token_has_its_role(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client(headers={"Authorization": f"Bearer {ANA}"}) as ana:
        assert (await ana.get("/rows.json")).status == 200
        assert (await ana.get("/admins.json")).status == 403
        assert (await ana.post("/act", json={})).status == 403
    async with served.client(headers={"Authorization": f"Bearer {ADMIN}"}) as admin:
        assert (await admin.get("/admins.json")).status == 200
        assert (await (await admin.post("/act", json={})).json())["message"] == "did it as adm"


async def test_signing_in_begins_a_session_and_signing_out_ends_it(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        answer = await sign_in(served, client, ANA)
        assert (answer.status, answer.headers["Location"]) == (303, "/rows")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        page = await client.get("/rows")
        assert page.status == 200
        csrf_token = csrf_of(await text_of(page))
        await client.post("/sign-out", data={"csrf_token": csrf_token}, allow_redirects=False)
        assert (await client.get("/rows.json")).status == 401


async def test_a_session_ends_with_its_token(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        await sign_in(served, client, OPS)
        assert (await client.get("/rows.json")).status == 200
        served.clock.move(3601)
        assert (await client.get("/rows.json")).status == 401


async def test_another_worker_with_the_same_settings_accepts_the_session(serve: Serve) -> None:
    one, two = await serve(TOKENS, small_pages), await serve(TOKENS, small_pages)
    other_tokens = ViewSettings(tokens=[*TOKENS.tokens, Token(name="new", role="viewer", token="another-token-1234")])
    three = await serve(other_tokens, small_pages)
    async with one.client() as client:
        await sign_in(one, client, ANA)
        assert (await client.get(f"{two.url}/rows.json")).status == 200
        assert (await client.get(f"{three.url}/rows.json")).status == 401


@pytest.mark.parametrize(
    "following", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(serve: Serve, following: str) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        csrf_token = csrf_of(await text_of(await client.get("/sign-in")))
        data = {"token": ANA, "csrf_token": csrf_token, "next": following}
        answer = await client.post("/sign-in", data=data, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_too_many_wrong_tokens_have_to_wait_as_long_as_they_are_told(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client(headers={"Authorization": "Bearer wrong"}) as client:
        statuses = [(await client.get("/rows.json")).status for _ in range(11)]
        refused = await client.get("/rows.json")
    assert statuses == [401] * 10 + [429]
    wait_s = int(refused.headers["Retry-After"])
    served.clock.move(wait_s)
    async with served.client(headers={"Authorization": f"Bearer {ANA}"}) as client:
        assert (await client.get("/rows.json")).status == 200


async def test_whoever_is_signed_in_does_not_wait_for_those_who_guess(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as signed_in:
        await sign_in(served, signed_in, ANA)
        async with served.client(headers={"Authorization": "Bearer wrong"}) as guessing:
            for _ in range(20):
                await guessing.get("/rows.json")
        assert (await signed_in.get("/rows.json")).status == 200


async def test_only_some_roles_may_export(serve: Serve) -> None:
    settings = TOKENS.model_copy(update={"exports": (Role.ADMIN,)})
    served = await serve(settings, small_pages)
    async with served.client(headers={"Authorization": f"Bearer {ANA}"}) as ana:
        assert [(await ana.get(path)).status for path in ("/rows.json", "/rows.csv", "/rows.json?size=all")] == [
            200,
            403,
            403,
        ]
    async with served.client(headers={"Authorization": f"Bearer {ADMIN}"}) as admin:
        assert (await admin.get("/rows.csv?size=all")).status == 200


# a reverse proxy

PROXY = ViewSettings(
    secret="between-workers-only",
    proxy=Proxy(
        networks=["127.0.0.1/32"],
        user_header="X-User",
        groups_header="X-Groups",
        groups={"ops": "operator", "all": "viewer"},
    ),
)


async def test_the_proxy_names_people_and_their_groups(serve: Serve) -> None:
    served = await serve(PROXY, small_pages)
    async with served.client(headers={"X-User": "eve", "X-Groups": "all, ops"}) as client:
        answer = await client.put("/api/v1/things/1", json={})
        assert (await answer.json())["message"] == "did it as eve"
    async with served.client(headers={"X-User": "bob", "X-Groups": "all"}) as client:
        assert (await client.get("/rows.json")).status == 200
        assert (await client.put("/api/v1/things/1", json={})).status == 403
    async with served.client(headers={"X-User": "nobody"}) as client:
        assert (await client.get("/rows.json")).status == 403
    async with served.client() as client:
        answer = await client.get("/rows.json")
        assert answer.status == 401
        assert "it must set X-User" in (await answer.json())["error"]


async def test_headers_from_elsewhere_than_the_proxy_are_refused(serve: Serve) -> None:
    proxy = PROXY.proxy.model_copy(update={"networks": Proxy(networks=["10.0.0.0/8"]).networks})
    served = await serve(PROXY.model_copy(update={"proxy": proxy}), small_pages)
    async with served.client(headers={"X-User": "eve", "X-Groups": "ops"}) as client:
        assert (await client.get("/rows.json")).status == 403
    async with served.client() as client:
        assert (await client.get("/rows.json")).status == 403


async def test_a_name_that_comes_twice_is_refused(serve: Serve) -> None:
    served = await serve(PROXY, small_pages)
    headers = [("X-User", "eve"), ("X-User", "admin"), ("X-Groups", "all")]
    async with served.client(headers=headers) as client:
        assert (await client.get("/rows.json")).status == 403


async def test_behind_a_prefix_every_link_and_cookie_has_it(serve: Serve) -> None:
    served = await serve(TOKENS.model_copy(update={"path_prefix": "/stream"}), small_pages)
    async with served.client() as client:
        page = await client.get("/rows", allow_redirects=False)
        assert page.headers["Location"].startswith("/stream/sign-in")
        form = await client.get("/sign-in")
        assert "Path=/stream/" in form.headers["Set-Cookie"]
        html = await text_of(form)
        assert not re.findall(r'(?:href|src|action)="/(?!stream/)', html)


# forms


async def test_an_act_takes_the_sessions_token(serve: Serve) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        await sign_in(served, client, ADMIN)
        csrf_token = csrf_of(await text_of(await client.get("/rows")))
        without = await client.post("/act", data={"a": "1"})
        wrong = await client.post("/act", data={"a": "1", "csrf_token": "0" * 40})
        right = await client.post("/act", data={"a": "1", "csrf_token": csrf_token}, allow_redirects=False)
        by_header = await client.post("/act", json={}, headers={"X-CSRF-Token": csrf_token})
        json_without = await client.post("/act", json={})
        assert [each.status for each in (without, wrong, right, by_header, json_without)] == [403, 403, 303, 200, 403]
        assert right.headers["Location"] == "/rows"
        assert "did it as adm" in await text_of(await client.get("/rows"))
        assert "did it as adm" not in await text_of(await client.get("/rows"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_what_another_site_sends_is_refused_even_with_the_right_token(
    serve: Serve, headers: dict[str, str]
) -> None:
    served = await serve(TOKENS, small_pages)
    async with served.client() as client:
        await sign_in(served, client, ADMIN)
        csrf_token = csrf_of(await text_of(await client.get("/rows")))
        answer = await client.post("/act", data={"csrf_token": csrf_token}, headers=headers)
        assert answer.status == 403


async def test_where_nobody_signs_in_other_sites_can_still_do_nothing(serve: Serve) -> None:
    served = await serve(register=small_pages)
    async with served.client() as stranger:
        assert (await stranger.post("/act", data={"a": "1"})).status == 403
        assert (await stranger.post("/act", data=b"{}", headers={"Content-Type": "text/plain"})).status == 403
        assert (
            await stranger.put("/api/v1/things/1", json={}, headers={"Origin": "http://evil.example"})
        ).status == 403
        assert (await stranger.put("/api/v1/things/1", json={})).status == 200  # a program on this machine


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"a=%FF", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 3000, "application/x-www-form-urlencoded", 400),
        (b"x" * (5 << 20), "application/json", 413),
        (b"x", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_a_body_that_cannot_be_used_is_a_clear_4xx(
    serve: Serve, body: bytes, content_type: str, status: int
) -> None:
    served = await serve(TOKENS, small_pages)
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": content_type}
    async with served.client(headers=headers) as client, client.post("/act", data=body) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]


async def test_an_act_goes_on_when_its_reader_goes_away(serve: Serve) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> Done:
        began.set()
        await asyncio.sleep(0.2)
        ended.set()
        return Done("done")

    served = await serve(register=lambda view: view.api("PUT", "/slow", slow, Role.OPERATOR))
    async with served.client() as client:
        asking = asyncio.create_task(client.put("/slow", json={}).__aenter__())
        await asyncio.wait_for(began.wait(), 20)
        asking.cancel()
        await asyncio.wait([asking])
    await asyncio.wait_for(ended.wait(), 20)


async def test_a_page_ends_when_its_reader_goes_away(serve: Serve) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def scanning(visit: Visit) -> Page:
        async def rows() -> AsyncIterator[Row]:
            try:
                index = 0
                while True:
                    yield {"key": str(index), "value": "x" * 1000, "count": index}
                    index += 1
                    began.set()
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return Page("Rows", "page.html", [Section("rows", COLUMNS, rows())])

    served = await serve(register=lambda view: view.page("/scan", scanning))
    async with served.client() as client:
        answer = await client.get("/scan.csv")
        await answer.content.readany()
        await asyncio.wait_for(began.wait(), 20)
        answer.close()
        await asyncio.wait_for(ended.wait(), 20)


# other contents


async def test_a_file_is_kept_under_a_safe_name(serve: Serve) -> None:
    async def file(visit: Visit) -> Content:
        return Content(b"id: crm\n", "application/yaml", 'a"b\r\n/../c.yml')

    served = await serve(register=lambda view: view.api("GET", "/api/v1/file", file))
    async with served.client() as client, client.get("/api/v1/file") as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="a-b---..-c.yml"'
        assert answer.content_type == "application/yaml"
        assert await answer.read() == b"id: crm\n"


async def test_events_come_as_they_happen_and_end_when_the_handler_ends(serve: Serve) -> None:
    may_go_on = asyncio.Event()

    async def ticking(visit: Visit) -> AsyncIterator[Told]:
        yield Told({"n": 1}, "tick", "1")
        await may_go_on.wait()
        yield Told("two\nlines\r<script>", "tick")

    served = await serve(register=lambda view: view.events("/live", ticking))
    async with served.client() as client, client.get("/live") as answer:
        assert answer.content_type == "text/event-stream"
        first = b""
        while b"\n\nevent" not in first and b'{"n":1}' not in first:
            first += await asyncio.wait_for(answer.content.readany(), 20)
        may_go_on.set()
        rest = await asyncio.wait_for(answer.read(), 20)
    assert rest == b"event: tick\ndata: two\ndata: lines\ndata: <script>\n\n"


async def test_a_worker_that_stops_does_not_wait_for_those_who_listen(serve: Serve) -> None:
    async def silent(visit: Visit) -> AsyncIterator[Told]:
        yield Told("hello")
        await asyncio.Event().wait()

    served = await serve(register=lambda view: view.events("/live", silent))
    async with served.client() as client, client.get("/live") as answer:
        await answer.content.readany()
        await asyncio.wait_for(served.stop(), 20)
        rest = await asyncio.wait_for(_what_is_left(answer), 20)
    assert b"hello" in rest or rest == b""


async def _what_is_left(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.read()
    except aiohttp.ClientError:
        return b""


async def test_saved_views_and_navigation_are_offered(serve: Serve) -> None:
    settings = TOKENS.model_copy(update={"views": (SavedView(title="Failing", path="/rows?count__gt=1"),)})
    served = await serve(settings, small_pages)
    async with served.client() as client:
        await sign_in(served, client, ANA)
        html = await text_of(await client.get("/rows"))
    assert "/rows?count__gt=1" in html
    assert 'href="/admins"' not in html
