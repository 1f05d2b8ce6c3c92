"""Webhooks as outside systems call them: every documented answer, from a whole worker, and what it leaves behind."""

import gzip
import json
import socket
import threading
import time
import uuid
import zlib

import pytest

from agents.inbound.reading import BODY_WITHIN_S
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import SHOWN_BODY_BYTES, SHOWN_UNREAD_BYTES
from tests.support.called_worker import APPLICATION, ORDER, SECRET, CalledWorker, webhook

LATER, EARLIER = "2999-01-01T00:00Z", "2020-01-01T00:00Z"
MAX_BODY_BYTES = 64 << 10
PREVIOUS = "previous-secret-of-the-webhook"
WEBHOOKS = [
    webhook("by-user"),
    webhook("by-email", "email", "customer.email"),
    webhook("by-phone", "phone", "customer.phone"),
    webhook("by-device", "hwid", "customer.device"),
    webhook("off", enabled=False),
    webhook("rotating", previous_secret=PREVIOUS, previous_until=LATER),
    webhook("rotated", previous_secret=PREVIOUS, previous_until=EARLIER),
    webhook("as-safari", platform="Safari"),
]


@pytest.fixture(scope="module")
def flow(kafka, redis_url, tmp_path_factory):
    started = CalledWorker(
        kafka,
        redis_url,
        tmp_path_factory.mktemp("inbound"),
        WEBHOOKS,
        max_body=f"{MAX_BODY_BYTES}B",
        max_depth=8,
        trust_proxy=["127.0.0.0/8"],
    )
    started.start()
    try:
        started.know_jane()
        started.knows("by-user")
        yield started
    finally:
        started.stop()


# what is taken


def test_a_request_fires_the_event_with_the_mapped_attributes(flow):
    answer = flow.fire("by-user")
    assert (answer.status, answer.json()["outcome"]) == (200, "accepted")
    assert answer.headers["content-type"] == "application/json"
    event = flow.event(answer.json()["event_id"])
    assert event["attributes"] == {"total": 99.5, "skus": ["a", "b"], "first": "a", "__webhook": "by-user"}
    assert (event["event_name"], event["application_code"], event["user_id"]) == ("OrderPaid", APPLICATION, "jane")


@pytest.mark.parametrize("name", ["by-email", "by-phone", "by-device"])
def test_a_user_is_found_by_whatever_identifies_her(flow, name):
    answer = flow.fire(name)
    assert answer.status == 200, answer
    assert flow.event(answer.json()["event_id"])["user_id"] == "jane"


def test_a_webhooks_own_platform_is_that_of_its_events(flow):
    assert flow.event(flow.fire("as-safari").json()["event_id"])["platform"] == "Safari"


def test_a_request_is_in_the_log_as_it_came(flow):
    body = json.dumps(ORDER).encode()
    answer = flow.fire("by-user", body, X_Forwarded_For="203.0.113.9, 127.0.0.1", Idempotency_Key="key-1")
    logged = flow.request(answer.json()["request_id"])
    assert (logged.source, logged.webhook_id, logged.outcome, logged.status) == (
        "webhook",
        "by-user",
        Outcome.ACCEPTED,
        200,
    )
    assert (logged.identifier_by, logged.identifier, logged.key) == ("user_id", "jane", "key-1")
    assert (logged.body, logged.size_bytes, logged.is_cut) == (body.decode(), len(body), False)
    assert logged.address == "203.0.113.9"
    assert abs(logged.at_s - time.time()) < 60


def test_a_long_body_is_logged_in_part_with_its_true_size(flow):
    body = json.dumps({**ORDER, "note": "x" * 2 * SHOWN_BODY_BYTES}).encode()
    logged = flow.request(flow.fire("by-user", body).json()["request_id"])
    assert (len(logged.body), logged.size_bytes, logged.is_cut) == (SHOWN_BODY_BYTES, len(body), True)


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id", "idempotency-key"])
def test_a_request_that_is_sent_again_with_its_key_fires_once(flow, header):
    key = str(uuid.uuid4())
    answers = [flow.fire("by-user", None, **{header: key}) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert len({answer.json()["event_id"] for answer in answers}) == 1
    flow.event(flow.fire("by-user", None, **{header: str(uuid.uuid4())}).json()["event_id"])
    assert flow.event(answers[0].json()["event_id"])


def test_the_same_key_at_another_webhook_is_another_request(flow):
    key = str(uuid.uuid4())
    ids = {flow.fire(name, None, Idempotency_Key=key).json()["event_id"] for name in ("by-user", "by-email")}
    assert len(ids) == 2


def test_without_a_key_every_request_fires(flow):
    assert len({flow.fire("by-user").json()["event_id"] for _ in range(3)}) == 3


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_a_compressed_body_is_taken(flow, encoding):
    body = json.dumps(ORDER).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](body)
    answer = flow.fire("by-user", packed, Content_Encoding=encoding)
    assert answer.status == 200
    assert flow.request(answer.json()["request_id"]).body == body.decode()


def test_both_secrets_are_taken_while_the_previous_one_is_valid(flow):
    for secret in (SECRET, PREVIOUS):
        assert flow.fire("rotating", None, Authorization=f"Bearer {secret}").status == 200


def test_the_previous_secret_is_refused_when_its_time_is_over(flow):
    assert flow.fire("rotated", None, Authorization=f"Bearer {PREVIOUS}").status == 401
    assert flow.fire("rotated").status == 200


# what is not


DEEP = b'{"customer":{"id":"jane"},"a":' + b"[" * 20 + b"]" * 20 + b"}"
REFUSED = {
    "no authorization": (Outcome.AUTH_REJECTED, 401, "by-user", b"{}", {"Authorization": ""}),
    "the secret alone": (Outcome.AUTH_REJECTED, 401, "by-user", b"{}", {"Authorization": SECRET}),
    "another secret": (Outcome.AUTH_REJECTED, 401, "by-user", b"{}", {"Authorization": f"Bearer {SECRET}x"}),
    "bearer in small letters": (Outcome.AUTH_REJECTED, 401, "by-user", b"{}", {"Authorization": f"bearer {SECRET}"}),
    "bytes that are no text": (Outcome.AUTH_REJECTED, 401, "by-user", b"{}", {"Authorization": "Bearer \xff\xfe"}),
    "disabled": (Outcome.DISABLED, 404, "off", b"{}", {}),
    "disabled and no secret": (Outcome.AUTH_REJECTED, 401, "off", b"{}", {"Authorization": "x"}),
    "no body": (Outcome.MALFORMED_JSON, 400, "by-user", b"", {}),
    "no JSON": (Outcome.MALFORMED_JSON, 400, "by-user", b"payload=%7B%7D", {}),
    "JSON that is cut off": (Outcome.MALFORMED_JSON, 400, "by-user", b'{"customer":', {}),
    "not UTF-8": (Outcome.MALFORMED_JSON, 400, "by-user", b'{"customer":"\xff"}', {}),
    "a list": (Outcome.NOT_AN_OBJECT, 400, "by-user", b"[]", {}),
    "null": (Outcome.NOT_AN_OBJECT, 400, "by-user", b"null", {}),
    "too deep": (Outcome.TOO_DEEP, 400, "by-user", DEEP, {}),
    "far too deep": (Outcome.TOO_DEEP, 400, "by-user", b"[" * 50_000, {}),
    "no identifier": (Outcome.IDENTIFIER_MISSING, 422, "by-user", b'{"customer":{}}', {}),
    "an identifier that is null": (Outcome.IDENTIFIER_MISSING, 422, "by-user", b'{"customer":{"id":null}}', {}),
    "an identifier that is a list": (Outcome.IDENTIFIER_MISSING, 422, "by-user", b'{"customer":{"id":[1]}}', {}),
    "nobody's identifier": (Outcome.USER_NOT_FOUND, 422, "by-email", b'{"customer":{"email":"no@example.com"}}', {}),
    "too large": (Outcome.TOO_LARGE, 413, "by-user", b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}', {}),
    "large when inflated": (
        Outcome.TOO_LARGE,
        413,
        "by-user",
        gzip.compress(b" " * 20 * MAX_BODY_BYTES),
        {"Content_Encoding": "gzip"},
    ),
    "not what its encoding says": (Outcome.UNREADABLE_BODY, 400, "by-user", b"{}", {"Content_Encoding": "gzip"}),
    "half of a gzip": (
        Outcome.UNREADABLE_BODY,
        400,
        "by-user",
        gzip.compress(json.dumps(ORDER).encode())[:-9],
        {"Content_Encoding": "gzip"},
    ),
    "an encoding that is not known": (Outcome.UNREADABLE_BODY, 400, "by-user", b"{}", {"Content_Encoding": "br"}),
    "no such webhook": (Outcome.UNKNOWN_WEBHOOK, 404, "nobodys", b"{}", {}),
    "no webhook's id": (Outcome.UNKNOWN_WEBHOOK, 404, "%00/../x", b"{}", {}),
}


@pytest.mark.parametrize(("outcome", "status", "name", "body", "headers"), REFUSED.values(), ids=REFUSED)
def test_a_refused_request_is_answered_and_logged_with_its_reason(flow, outcome, status, name, body, headers):  # noqa: PLR0917
    answer = flow.fire(name, body, **headers)
    assert (answer.status, answer.json()["outcome"]) == (status, outcome.value)
    assert answer.json()["message"] == outcome.meaning
    logged = flow.request(answer.json()["request_id"])
    assert (logged.outcome, logged.status, logged.events) == (outcome, status, [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_taken(flow, method):
    answer = flow.call("/webhooks/by-user", method=method, headers={"Authorization": f"Bearer {SECRET}"})
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_an_auth_challenge_names_the_scheme(flow):
    assert flow.fire("by-user", None, Authorization="").headers["www-authenticate"] == "Bearer"


def test_a_log_entry_never_holds_a_secret(flow):
    flow.fire("by-user", None, Authorization=f"Bearer {SECRET}-with-more")
    assert not [value for _, value in flow.records(flow.names.inbound_requests) if SECRET.encode() in value]
    assert SECRET not in flow.log()


def test_a_refused_body_that_came_with_its_head_can_be_seen_in_the_log(flow):
    answer = flow.fire("by-user", b'{"seen":true}', Authorization="Bearer wrong-wrong-wrong")
    assert flow.request(answer.json()["request_id"]).body == '{"seen":true}'


def test_of_a_long_body_without_the_secret_only_the_beginning_is_kept(flow):
    body = b"x" * 2 * SHOWN_UNREAD_BYTES
    logged = flow.request(flow.fire("by-user", body, Authorization="").json()["request_id"])
    assert (len(logged.body), logged.size_bytes, logged.is_cut) == (SHOWN_UNREAD_BYTES, len(body), True)


def test_an_identifier_that_nobody_has_can_be_seen_in_the_log(flow):
    answer = flow.fire("by-email", {"customer": {"email": "nobody@example.com"}})
    assert flow.request(answer.json()["request_id"]).identifier == "nobody@example.com"


def test_every_request_is_in_the_counts_of_the_worker(flow):
    before = flow.counted()
    flow.fire("by-user")
    flow.fire("by-user", b"[]")
    flow.call("/nothing")
    grown = flow.counted() - before
    assert grown == {("webhook", "accepted"): 1, ("webhook", "not_an_object"): 1, ("", "unknown_path"): 1}


# slow and greedy callers


def connected(flow):
    return socket.create_connection(("127.0.0.1", flow.inbound_port), timeout=20)


def head(name: str, *lines: str) -> bytes:
    given = (f"POST /webhooks/{name} HTTP/1.1", "Host: h", f"Authorization: Bearer {SECRET}", *lines)
    return "\r\n".join([*given, "", ""]).encode()


def test_a_body_whose_length_says_that_it_is_too_large_is_refused_before_it_is_sent(flow):
    with connected(flow) as line:
        line.sendall(head("by-user", f"Content-Length: {1 << 40}") + b"x" * 1000)
        answer = line.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in answer


def test_a_body_without_a_length_is_read_no_further_than_permitted(flow):
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    with connected(flow) as line:
        line.sendall(head("by-user", "Transfer-Encoding: chunked"))
        sent_bytes = 0
        try:
            while sent_bytes < 1 << 28:
                line.sendall(chunk)
                sent_bytes += len(chunk)
        except OSError:
            pass
        assert sent_bytes < 1 << 26


def test_a_caller_that_asks_first_is_told_to_go_on_or_the_refusal(flow):
    body = json.dumps(ORDER).encode()
    with connected(flow) as line:
        line.sendall(head("by-user", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
    with connected(flow) as line:
        line.sendall(head("by-user", f"Content-Length: {1 << 30}", "Expect: 100-continue"))
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_callers_that_stall_in_their_bodies_hold_nobody_up_and_are_refused_in_the_end(flow):
    stalled = [connected(flow) for _ in range(100)]
    for line in stalled:
        line.sendall(head("by-user", "Content-Length: 100") + b"{")
    began_s = time.monotonic()
    for _ in range(20):
        assert flow.fire("by-user").status == 200
    assert time.monotonic() - began_s < BODY_WITHIN_S
    for line in stalled:
        answer = line.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"unreadable_body" in answer
        line.close()


def test_a_body_that_comes_byte_by_byte_is_taken(flow):
    body = json.dumps(ORDER).encode()
    with connected(flow) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head("by-user", f"Content-Length: {len(body)}") + body:
            line.sendall(bytes([byte]))
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_callers_that_go_away_in_the_middle_leave_nothing_behind(flow):
    before = flow.counted()
    for _ in range(20):
        with connected(flow) as line:
            line.sendall(head("by-user", "Content-Length: 100") + b"{")
    deadline_s = time.monotonic() + 10
    while (flow.counted() - before)["webhook", "gone"] < 20:
        assert time.monotonic() < deadline_s, flow.counted() - before
        time.sleep(0.05)
    assert flow.fire("by-user").status == 200


def test_many_callers_at_once_are_all_answered(flow):
    statuses: list[int] = []

    def work() -> None:
        statuses.extend(flow.fire("by-user").status for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 320


def test_set_tags_waits_for_no_body_of_a_caller_without_a_token(flow):
    with connected(flow) as line:
        began_s = time.monotonic()
        line.sendall(b"POST /json/1.3/setTags HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        answer = line.recv(65536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b'"status_code":401' in answer
        assert time.monotonic() - began_s < 5, "bodies may take 10 s, and hold a place of max_concurrent meanwhile"
