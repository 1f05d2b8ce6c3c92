"""What means harm comes to nothing: text that does nothing, a clear refusal, nothing half saved, and never a failure."""

import csv
import io
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.hostile_flow import (
    ADMIN,
    EXPIRED,
    FORMULA,
    HOSTILE,
    IMAGE,
    LONG,
    REVERSED,
    SCRIPT,
    SECRET,
    TEMPLATE,
    VIEWER,
    HostileFlow,
    Reply,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

csv.field_size_limit(1 << 24)
API = "/api/v1/integrations"
TWISTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
MANUALS = ("https://duckdb.org/docs/",)
MOST_HTML_BYTES = 1 << 20


@pytest.fixture(autouse=True)
def nothing_fails(hostile: HostileFlow):
    """Whatever a test sends, the worker goes on, and logs no failure."""
    before = len(hostile.log())
    yield
    said = hostile.log()[before:]
    assert "a page failed" not in said
    assert "Traceback" not in said
    assert hostile.see("/health/ready", token=None).status == 200


class Harm(HTMLParser):
    """``found`` is all of a page that a browser would run, or would show as something that it is not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = [f"raw {match[0]!r}" for match in TWISTED.finditer(text)]
        self.scripts = 0
        self._is_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"script", "style", "iframe", "object", "embed", "base", "img"} and not given.get(
            "src", ""
        ).startswith("/static/"):
            self.found.append(f"<{tag}>")
        self._is_script = tag == "script"
        for name, value in given.items():
            if name.startswith("on") or name == "style":
                self.found.append(f"{name}={value[:60]!r}")
            leads_out = not value.startswith(("/", "?", "#", *MANUALS)) or value.startswith("//")
            if name in {"href", "src", "action", "formaction", "data-hx-get", "data-hx-post"} and value and leads_out:
                self.found.append(f"{name}={value[:60]!r}")

    def handle_data(self, data: str) -> None:
        if self._is_script and data.strip():
            self.found.append(f"inline script {data[:60]!r}")

    def handle_endtag(self, _tag: str) -> None:
        self._is_script = False


def is_clear(reply: Reply) -> bool:
    """Whether a refusal says in words what is wrong, and shows nothing of the inside."""
    text = reply.text
    return 400 <= reply.status < 500 and len(text) > 10 and "Traceback" not in text and 'File "/' not in text


# what is shown


def test_html_shows_it_as_text_that_does_nothing(hostile: HostileFlow) -> None:
    harm = {}
    shown = ""
    for path, target in hostile.examples().items():
        reply = hostile.see_as("html", target)
        assert reply.status == 200, (path, reply.text[:500])
        assert len(reply.body) < MOST_HTML_BYTES, path
        found = Harm(reply.text).found
        if found:
            harm[path] = found[:5]
        shown += reply.text
    assert not harm
    for text in ("&lt;script&gt;alert(1)&lt;/script&gt;", "\\u202egnp.exe\\u2066", "null\\u0000", "{{ 7*"):
        assert text in shown
    assert "7777777" not in shown


def test_json_is_ascii_that_every_reader_takes(hostile: HostileFlow) -> None:
    texts = ""
    for path, target in hostile.examples().items():
        reply = hostile.see_as("json", target)
        assert reply.status == 200, path
        assert reply.headers["content-type"].startswith("application/json")
        assert reply.body.isascii(), path
        found = json.loads(reply.body, parse_constant=pytest.fail)
        json.dumps(found, ensure_ascii=False).encode()  # half a character has no UTF-8
        texts += reply.text
    assert json.dumps(REVERSED)[1:-1] in texts
    assert LONG in texts


def test_no_cell_of_csv_is_a_formula(hostile: HostileFlow) -> None:
    quoted = set()
    for path, target in hostile.examples().items():
        found = hostile.see_as("json", target).json()["sections"]
        for name, section in found.items():
            kinds = {column["name"]: column["kind"] for column in section["columns"]}
            reply = hostile.see_as("csv", target, section=name)
            assert reply.status == 200, path
            assert not TWISTED.search(reply.text), path
            for row in csv.DictReader(io.StringIO(reply.text, newline="")):
                for column, text in row.items():
                    is_figure = kinds[column] in {"integer", "number", "seconds", "bytes", "time"}
                    assert is_figure or not text.lstrip().startswith(("=", "+", "-", "@")), (path, column, text[:80])
                    quoted |= {text} if text.startswith("'=") else set()
    assert f"'{FORMULA}" in quoted


def test_no_secret_is_in_any_page(hostile: HostileFlow) -> None:
    for path, target in hostile.examples().items():
        for extension in ("html", "json", "csv"):
            reply = hostile.see_as(extension, target)
            for secret in (SECRET, ADMIN, VIEWER, EXPIRED):
                assert secret not in reply.text, (path, extension)


@pytest.mark.parametrize("text", [each for each in HOSTILE if len(each) < 200])
def test_what_is_searched_for_is_shown_as_text_and_finds_no_more_than_it_says(hostile: HostileFlow, text: str) -> None:
    for path in ("/attempts", "/batches", "/integrations", "/audit", "/tables", "/topics"):
        reply = hostile.see_as("html", path, q=text)
        assert reply.status in {200, 400}, path
        assert not Harm(reply.text).found, path
    found = hostile.see_as("html", "/events/found", user_id=text, since="1h")
    assert found.status == 200
    assert not Harm(found.text).found
    is_kept_as_it_is = text == text.strip()
    assert (
        not is_kept_as_it_is
        or hostile.see_as("json", "/events/found", user_id=text, since="1h").json()["facts"]["found"]
    )


# addresses that make no sense

STRANGE_STEPS = (
    "nope", "0", "-1", "1e9", "9" * 40, "\u0669", "a" * 900, SCRIPT, REVERSED, "'; DROP TABLE attempts; --", "%", "a/b", ":"
)  # fmt: skip


@pytest.mark.parametrize("step", STRANGE_STEPS)
def test_an_id_that_there_is_not_is_not_found(hostile: HostileFlow, step: str) -> None:
    for path in [each for each in hostile.pages() if "{" in each]:
        target = re.sub(r"\{[a-z]+\}", lambda _: quote(step, safe=""), path)
        for extension in ("html", "json", "csv"):
            reply = hostile.see_as(extension, target)
            assert is_clear(reply) or step == "0", (target, extension, reply.status, reply.text[:300])
            assert reply.status < 500
            if extension == "html":
                assert not Harm(reply.text).found, target


PATHS = (
    "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../../faust.yml", "/static/%2e%2e/%2e%2e/settings.py",
    "/static/..%2f..%2fsettings.py", "//etc/passwd", "/%00", "/integrations/%00", "/integrations/a%00.json",
    "/integrations/%ff%fe", "/integrations/%", "/integrations/%zz", "/integrations/%u202e", "/" + "a" * 5000,
    "/integrations/" + "a" * 7000, "/\\..\\..", "/-/gather", "/-/", "/.git/config", "/faust.yml", "/integrations/taking.json.json",
    "/integrations/taking/", "/integrations//taking", "/;/integrations", "/integrations;x=1", "/static/", "/static/%2e", "*",
    "http://evil.invalid/integrations/nope", "/tables/windows/%2e%2e%2f%2e%2e", "/audit/1/../2", "/" + "/".join("a" * 2000),
)  # fmt: skip


def sent_raw(hostile: HostileFlow, head: bytes) -> bytes:
    """What comes back for bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=10) as connection:
        connection.sendall(head)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_nowhere_is_refused(hostile: HostileFlow, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\r\n"
    answer = sent_raw(hostile, head.encode())

    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500, answer[:300]
    assert b"root:" not in answer
    assert b"import " not in answer
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /parked/replay HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /parked/replay HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["nul", "long header", "negative length", "two lengths", "raw bytes", "tls", "method", "version"],
)
def test_what_is_no_request_is_refused_or_dropped(hostile: HostileFlow, head: bytes) -> None:
    answer = sent_raw(hostile, head)
    assert not answer or 300 <= int(answer.split(b" ", 2)[1]) < 500, answer[:300]
    assert b"Traceback" not in answer


QUERIES: list[list[tuple[str, str]]] = [
    [("q", "x" * 1001)],
    [("q", "\x00")],
    [(f"a{number}", "1") for number in range(201)],
    [("sort", "no_such")],
    [("sort", "--at")],
    [("sort", SCRIPT)],
    [("size", "-1")],
    [("size", "0")],
    [("size", "1001")],
    [("size", "\u0661\u0660")],
    [("size", "9" * 900)],
    [("size", "all")],
    [("after", "nonsense")],
    [("after", "W10")],  # []
    [("after", "W251bGwsbnVsbF0")],  # [null,null]
    [("after", "WzFlMzA5LDFd")],  # [1e309,1]
    [("after", "WyJcdWQ4MDAiLCJcdTAwMDAiXQ")],  # ["\ud800","\u0000"]
    [("after", "W3RydWUsImEiXQ")],  # [true,"a"]
    [("after", "[" * 900)],
    [("facet", "no_such")],
    [("facet", "integration")] * 150,
    [("since", "yesterday-ish"), ("until", "\x00")],
    [("since", "9" * 300)],
    [("since", "-1")],
    [("cols", SCRIPT)],
    [("section", SCRIPT)],
    [("tz", "../../etc/passwd")],
    [("refresh", "1e309")],
    [("__class__", "1")],
    [("integration__sql", "1 OR 1=1")],
    [("integration__in", ",".join("a" for _ in range(450)))],
    [("integration__gt", "\ud7ff")],
    [("integration", "' OR '1'='1")],
    [("at__gt", "nan"), ("events__lt", "inf"), ("status__gt", "1e999")],
    [("status__gt", "9" * 400)],
    [("partition", "0.5"), ("partition", "-0"), ("offset", "1e18")],
    [("_column", "integration"), ("_operator", "sql"), ("_value", "1")],
    [("from.x", "0:99999999999999999999"), ("user_id", "x")],
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query[0][0]}={query[0][1][:12]!r}"[:30])
def test_a_query_that_makes_no_sense_is_refused_in_words_or_finds_nothing(
    hostile: HostileFlow, query: list[tuple[str, str]]
) -> None:
    text = urlencode(query)
    for path in [each for each in hostile.pages() if "{" not in each]:
        for extension in ("html", "json"):
            reply = hostile.see_as(extension, f"{path}?{text}")
            where = (path, extension, reply.status, reply.text[:300])
            assert reply.status == 200 or is_clear(reply), where
            assert extension != "html" or not Harm(reply.text).found, where


@pytest.mark.parametrize(
    "query", ["a&" * 3000, "q=" + "%41" * 2500, "=&=&=", "%00=%00", "q=%ff%fe", "q=%ud800", "&" * 4000]
)
def test_a_query_string_that_is_broken_or_huge_is_no_failure(hostile: HostileFlow, query: str) -> None:
    for path in ("/attempts", "/attempts.json", "/attempts.csv", API):
        reply = hostile.see(f"{path}?{query}")
        assert reply.status == 200 or is_clear(reply), (path, reply.status, reply.text[:300])


# changes


def etag(hostile: HostileFlow, name: str) -> str:
    return hostile.see(f"{API}/{name}").headers["etag"]


def made(hostile: HostileFlow, name: str) -> str:
    """Make an integration; gives its tag."""
    reply = hostile.send("POST", API, hostile.settings_of(name))
    assert reply.status == 201, reply.text
    return reply.headers["etag"]


def state(hostile: HostileFlow) -> Any:
    """All integrations, and how many changes there were."""
    return hostile.see(f"{API}?size=1000").json()


HOSTILE_IDS = (
    SCRIPT, IMAGE, REVERSED, "a\x00b", FORMULA, TEMPLATE, "../taking", "", " ", "A", "a" * 65, LONG, "é", "a.json", None, 1,
    True, [], {}, "taking",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_IDS, ids=lambda name: repr(name)[:20])
def test_an_integration_with_a_name_that_is_none_is_refused_whole(hostile: HostileFlow, name: Any) -> None:
    before = state(hostile)

    reply = hostile.send("POST", API, {**hostile.settings_of("any"), "id": name})

    assert reply.status in {409, 422}
    assert is_clear(reply)
    assert reply.body.isascii()
    assert state(hostile) == before


BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"id": "\\ud800"}',
    b'{"id": NaN}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"id": "no such", "id": ""}',
    json.dumps({"id": "No", "kind": "http", "url": "javascript:alert(1)", "events": "*", "platforms": "*"}).encode(),
    json.dumps({"id": "No", "kind": "http", "url": "http://169.254.169.254/", "events": 5, "platforms": {}}).encode(),
    json.dumps({"id": "No", "kind": SCRIPT, "__proto__": {}, "batch": {"max_events": 10**30}}).encode(),
    json.dumps({"id": "No", "kind": "http", "batch": {"max_age": "1e400s"}, "url": LONG}).encode(),
    b'{"id": "No", "n": ' + b"9" * 50_000 + b"}",
    b" " * (5 << 20),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:16]))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", API),
        ("PUT", f"{API}/kept"),
        ("POST", f"{API}/kept/duplicate"),
        ("POST", f"{API}/preview"),
        ("POST", f"{API}/test"),
    ],
)
def test_a_body_that_is_broken_changes_nothing(hostile: HostileFlow, method: str, path: str, body: bytes) -> None:
    before = state(hostile)

    reply = hostile.send(method, path, body, headers={"If-Match": "*"})

    assert is_clear(reply), (reply.status, reply.text[:300])
    assert state(hostile) == before


YAMLS = (
    "integrations:\n- !!python/object/apply:os.system ['true']\n",
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)),
    "integrations: " + "[" * 5000,
    "integrations: " + "{a: " * 5000,
    "\x00\x01",
    'integrations:\n- id: "\\ud800"\n',
    "integrations: 5\n",
    "- - - -\n",
    "integrations:\n- &x\n  id: *x\n",
    "integrations:\n- id: ok-one\n  kind: http\n  url: http://127.0.0.1:9/\n  events: '*'\n  platforms: '*'\n- id: '<script>'\n  kind: http\n",
    "integrations:\n- id: ok-one\n  kind: http\n  url: http://127.0.0.1:9/\n  events: '*'\n  platforms: '*'\n- id: ok-one\n  kind: http\n  url: http://127.0.0.1:9/\n  events: '*'\n  platforms: '*'\n",
    "integrations:\n- id: ok-one\n  kind: http\n  url: ${HOME}\n  authorization: ${ADMIN_TOKEN}\n  events: '*'\n  platforms: '*'\n",
)


@pytest.mark.parametrize("text", YAMLS, ids=lambda text: repr(text[:24]))
def test_yaml_with_anything_wrong_in_it_changes_nothing(hostile: HostileFlow, text: str) -> None:
    before = state(hostile)
    began_s = time.monotonic()

    reply = hostile.send("POST", f"{API}/import", text, headers={"Content-Type": "application/yaml"})

    assert is_clear(reply), (reply.status, reply.text[:300])
    assert state(hostile) == before
    assert time.monotonic() - began_s < 10


def test_of_many_who_change_the_same_thing_at_once_one_succeeds(hostile: HostileFlow) -> None:
    tag = made(hostile, "wanted-by-all")
    revision = state(hostile)["revision"]

    def change(number: int) -> Reply:
        wanted = hostile.settings_of("wanted-by-all", events=[f"Event {number}"])
        return hostile.send("PUT", f"{API}/wanted-by-all", wanted, headers={"If-Match": tag})

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(change, range(8)))

    assert sorted(reply.status for reply in replies) == [200] + [412] * 7
    winner = next(number for number, reply in enumerate(replies) if reply.status == 200)
    kept = hostile.see(f"{API}/wanted-by-all").json()
    assert kept["settings"]["events"] == [f"Event {winner}"]
    assert state(hostile)["revision"] == revision + 1


def test_of_many_who_make_the_same_thing_at_once_one_succeeds(hostile: HostileFlow) -> None:
    with ThreadPoolExecutor(8) as pool:
        made_by = list(pool.map(lambda _: hostile.send("POST", API, hostile.settings_of("made-by-all")), range(8)))

    assert sorted(reply.status for reply in made_by) == [201] + [409] * 7
    entries = hostile.rows("/audit", "audit", target="made-by-all")
    assert len(entries) == 1


@pytest.mark.parametrize(
    "given", ["stale", "", '"', '"0"', "W/", '"' + "9" * 40 + '"', "\u00ff", "a" * 5000, '"a", "b"']
)
def test_a_change_of_what_was_seen_otherwise_is_refused(hostile: HostileFlow, given: str) -> None:
    stale = made(hostile, "stale") if hostile.see(f"{API}/stale").status == 404 else ""
    if stale:
        changed = hostile.settings_of("stale", events=["Other"])
        assert hostile.send("PUT", f"{API}/stale", changed, headers={"If-Match": stale}).status == 200
    before = hostile.see(f"{API}/stale").json()
    headers = {"If-Match": '"1"' if given == "stale" else given} if given else {}

    for method in ("PUT", "DELETE"):
        body = hostile.settings_of("stale") if method == "PUT" else None
        reply = hostile.send(method, f"{API}/stale", body, headers=headers)
        assert reply.status in {400, 412, 428}, (method, reply.status, reply.text)
        assert is_clear(reply)

    assert hostile.see(f"{API}/stale").json() == before


def test_what_stands_in_the_file_cannot_be_changed(hostile: HostileFlow) -> None:
    before = state(hostile)
    for method, path, body in (
        ("PUT", f"{API}/taking", hostile.settings_of("taking")),
        ("DELETE", f"{API}/taking", None),
        ("POST", f"{API}/taking/disable", None),
    ):
        assert hostile.send(method, path, body, headers={"If-Match": "*"}).status == 409
    assert state(hostile) == before


# who it is


def test_a_token_whose_time_is_over_opens_nothing(hostile: HostileFlow) -> None:
    for path in ("/about.json", "/attempts.csv", API, "/api/v1/openapi.json"):
        reply = hostile.see(path, token=EXPIRED)
        assert reply.status == 401
        assert is_clear(reply)
    assert hostile.send("POST", API, hostile.settings_of("never"), token=EXPIRED).status == 401
    assert hostile.see(f"{API}/never").status == 404


@pytest.mark.parametrize("role", [VIEWER, None])
def test_who_may_not_change_anything_changes_nothing(hostile: HostileFlow, role: str | None) -> None:
    before = state(hostile)
    status = 401 if role is None else 403
    for method, path in (
        ("POST", API),
        ("PUT", f"{API}/kept"),
        ("DELETE", f"{API}/kept"),
        ("POST", f"{API}/import"),
        ("POST", f"{API}/kept/disable"),
        ("POST", "/parked/replay"),
        ("POST", "/dead-letters/replay"),
        ("POST", "/integrations/kept/delete"),
    ):
        reply = hostile.send(method, path, hostile.settings_of("other"), token=role, headers={"If-Match": "*"})
        assert reply.status == status, (method, path, reply.status)
    assert state(hostile) == before


@pytest.mark.parametrize(
    "cookie", ["", "a.b.c", "." * 100, "A" * 4000, "eyJyb2xlIjoiYWRtaW4ifQ.AAAA", '"\\073"', "null", "é"]
)
def test_a_session_that_is_none_of_ours_is_nobody(hostile: HostileFlow, cookie: str) -> None:
    for name in (f"distributary_{hostile.app}", f"distributary_session_{hostile.app}", f"session_{hostile.app}"):
        headers = {"Cookie": f"{name}={cookie}".encode().decode("latin-1")}
        assert hostile.send("GET", "/about.json", token=None, headers=headers).status == 401


def test_a_form_of_another_site_is_refused(hostile: HostileFlow) -> None:
    signed_in = hostile.send(
        "POST",
        "/sign-in",
        urlencode({"token": ADMIN}),
        token=None,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.invalid"},
    )
    assert signed_in.status == 403
    assert "set-cookie" not in signed_in.headers or ADMIN not in signed_in.headers["set-cookie"]
