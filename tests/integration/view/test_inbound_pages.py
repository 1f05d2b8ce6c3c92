"""Webhooks, their activity log, Segment's calls and users, on the pages of a worker to which requests have come."""

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.inbound.outcome import Outcome
from tests.support.inbound_flow import APPLICATION, SECRET, InboundFlow, request, segment_call
from tests.support.viewed_flow import ADMIN, OPERATOR, VIEWER
from tests.support.worker_process import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x00"
FAILED = (
    Outcome.AUTH_REJECTED,
    Outcome.IDENTIFIER_MISSING,
    Outcome.USER_NOT_FOUND,
    Outcome.MALFORMED_JSON,
    Outcome.DISABLED,
)


class MaskedFlow(InboundFlow):
    """Viewers see no personal data, operators no addresses."""

    def webhooks(self) -> list[dict[str, Any]]:
        """One more, for what a test sends."""
        return [*super().webhooks(), self.webhook("heard", "user_id", "user.id")]

    def settings(self) -> dict[str, Any]:
        """With masks."""
        settings = super().settings()
        masks = ["email", "phone", "hwid", "user_id", "payload"]
        return settings | {"view": {**settings["view"], "mask": {"viewer": masks, "operator": ["email"]}}}


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MaskedFlow]:
    flow = MaskedFlow("inbound-pages", kafka, tmp_path_factory.mktemp("inbound-pages"))
    try:
        flow.start()
        flow.receive(
            *(request("orders") for _ in range(3)),
            *(request("orders", outcome) for outcome in FAILED),
            *(request("orders", Outcome.AUTH_REJECTED, by="", user="") for _ in range(5)),
            request("mails", by="email", user="jane@example.com"),
            request("mails", by="email", user=HOSTILE, body=json.dumps({"email": HOSTILE}).encode()),
            request("gone", Outcome.UNKNOWN_WEBHOOK, by="", user=""),
            segment_call(disregarded={"platform_missing": 3}),
            segment_call("/track-user", taken=0),
        )
        flow.track(
            user_id="user-7", email="jane@example.com", device_id="device-7", device_platform="ios",
            attributes={"plan": "gold"},
        )  # fmt: skip
        flow.await_requests(17)
        eventually(lambda: row(flow, "orders")["received"] == 13, "the requests to orders are counted")
        eventually(lambda: row(flow, "mails")["received"] == 2, "the requests to mails are counted")
        eventually(lambda: flow.rows("/users", "users"), "the user is known")
        yield flow
    finally:
        flow.close()


def row(flow: InboundFlow, name: str) -> dict[str, Any]:
    found = [each for each in flow.rows("/webhooks", "webhooks") if each["webhook"] == name]
    return found[0] if found else {"received": None}


def test_the_list_shows_each_webhook_with_what_it_received(flow: MaskedFlow) -> None:
    orders = row(flow, "orders")

    assert {name: orders[name] for name in ("name", "event", "status", "received", "hits", "success", "failed", "rejected")} == {
        "name": "The orders", "event": "CheckoutSuccess", "status": "enabled", "received": 13, "hits": 13, "success": 3,
        "failed": 10, "rejected": 5,
    }  # fmt: skip


def test_the_list_is_searched_and_filtered_by_status(flow: MaskedFlow) -> None:
    found = [flow.rows("/webhooks", "webhooks", **asked) for asked in ({"q": "mails"}, {"status": "disabled"})]

    assert [[each["webhook"] for each in rows] for rows in found] == [["mails"], []]


def test_the_log_sums_up_the_day_and_says_why_requests_failed(flow: MaskedFlow) -> None:
    page = flow.page("/webhooks/orders")
    reasons = {each["reason"]: each["count"] for each in page["sections"]["reasons"]["rows"]}

    assert [page["facts"][name] for name in ("hits_24_h", "success_24_h", "failed_24_h", "received")] == [13, 3, 10, 13]
    assert reasons == {**{outcome.label: 1 for outcome in FAILED}, Outcome.AUTH_REJECTED.label: 6}


def test_the_log_has_every_request_with_identifier_and_payload(flow: MaskedFlow) -> None:
    rows = flow.rows("/webhooks/orders", "requests", size=100)

    assert len(rows) == 13
    assert {each["user_id"] for each in rows if each["result"] == "success"} == {"12345"}
    assert all(json.loads(each["preview"])["total"] == 5 for each in rows)


def test_the_log_says_that_the_secret_is_wrong_again_and_again(flow: MaskedFlow) -> None:
    _, text = flow.ask("/webhooks/orders")

    assert "The last 5 requests did not carry the secret." in text


def test_one_request_shows_its_payload_and_the_event(flow: MaskedFlow) -> None:
    found = flow.rows("/webhooks/orders", "requests", result="success")[0]
    page = flow.page(f"/webhooks/requests/{found['partition']}/{found['offset']}")
    _, text = flow.ask(f"/webhooks/requests/{found['partition']}/{found['offset']}")

    assert page["sections"]["events"]["rows"][0]["attributes"] == {"total": 5, "__webhook": "orders"}
    assert "&#34;total&#34;: 5" in text


def test_a_repeated_request_says_that_it_fired_nothing_and_which_one_did(flow: MaskedFlow) -> None:
    first, again = request("heard", key="order-77"), request("heard", key="order-77")
    again.events = first.events
    flow.receive(first, again)
    eventually(lambda: len(flow.rows("/webhooks/requests", "requests", key="order-77")) == 2, "both are in the log")
    fired, repeated = sorted(flow.rows("/webhooks/requests", "requests", key="order-77"), key=lambda row: row["offset"])

    pages = [flow.page(f"/webhooks/requests/{row['partition']}/{row['offset']}") for row in (fired, repeated)]
    assert [len(page["sections"]["events"]["rows"]) for page in pages] == [1, 0]
    _, text = flow.ask(f"/webhooks/requests/{repeated['partition']}/{repeated['offset']}")
    assert "nothing was fired again" in text


def test_requests_to_no_webhook_are_in_the_log_of_all(flow: MaskedFlow) -> None:
    (found,) = flow.rows("/webhooks/requests", "requests", webhook="gone")

    assert (found["result"], found["reason"]) == ("failed", Outcome.UNKNOWN_WEBHOOK.label)


@pytest.mark.parametrize("path", ["/webhooks/mails", "/webhooks/requests"])
def test_no_viewer_sees_whose_request_it_was(flow: MaskedFlow, path: str) -> None:
    pages = [flow.ask(f"{path}{extension}", VIEWER)[1] for extension in ("", ".json", ".csv")]

    assert not any("jane@example.com" in page or "12345" in page for page in pages)


def test_a_viewer_finds_masked_requests_by_the_whole_identifier(flow: MaskedFlow) -> None:
    found = flow.rows("/webhooks/mails", "requests", VIEWER, email="jane@example.com")

    assert [each["email"].startswith("email:") for each in found] == [True]


@pytest.mark.parametrize("token", [VIEWER, OPERATOR])
def test_one_request_shows_no_address_to_whom_addresses_are_masked(flow: MaskedFlow, token: str) -> None:
    (found,) = flow.rows("/webhooks/mails", "requests", email="jane@example.com")
    path = f"/webhooks/requests/{found['partition']}/{found['offset']}"
    topic = f"/topics/{flow.app}-inbound-requests/{found['partition']}/{found['offset']}"
    answers = [flow.ask(f"{each}{extension}", token) for each in (path, topic) for extension in ("", ".json")]

    assert [status for status, _ in answers] == [200] * 4
    assert not any("jane@example.com" in text for _, text in answers)


def test_whoever_sees_no_addresses_sees_no_payloads_in_lists(flow: MaskedFlow) -> None:
    rows = flow.rows("/webhooks/orders", "requests", OPERATOR)

    assert all(each["preview"].startswith("payload:") for each in rows)


def test_what_means_harm_is_only_text(flow: MaskedFlow) -> None:
    (found,) = [each for each in flow.rows("/webhooks/mails", "requests") if "script" in each["email"]]
    pages = [
        flow.ask(path)[1] for path in ("/webhooks/mails", f"/webhooks/requests/{found['partition']}/{found['offset']}")
    ]

    assert not any("<script>alert" in page or "\u202e" in page for page in pages)


@pytest.mark.parametrize(
    ("path", "section"),
    [("/webhooks", "webhooks"), ("/webhooks/orders", "requests"), ("/webhooks/requests", "requests")],
)
def test_csv_has_the_rows_of_json(flow: MaskedFlow, path: str, section: str) -> None:
    _, text = flow.ask(f"{path}.csv", size="all", partial="ok")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]

    assert len(list(csv.DictReader(io.StringIO("".join(lines))))) == len(flow.rows(path, section, size=1000))


def test_sql_asks_of_requests_webhooks_and_users(flow: MaskedFlow) -> None:
    query = (
        "SELECT w.name, count(*) AS requests FROM inbound_requests r JOIN webhooks w ON r.webhook = w.webhook "
        "WHERE w.webhook <> 'heard' GROUP BY ALL ORDER BY ALL"
    )
    rows = flow.rows("/sql", "result", q=query)
    users = flow.rows("/sql", "result", q="SELECT user_id FROM users WHERE user_id = 'user-7'")

    assert [(each["name"], each["requests"]) for each in rows] == [("The mails", 2), ("The orders", 13)]
    assert users == [{"user_id": "user-7"}]


# Segment


def test_segments_calls_are_counted_with_what_was_disregarded(flow: MaskedFlow) -> None:
    page = flow.page("/segment")

    assert (page["facts"]["events_24_h"], page["facts"]["disregarded_24_h"]) == (2, 3)
    assert [(each["reason"], each["count"]) for each in page["sections"]["disregarded"]["rows"]] == [("No platform", 3)]
    assert {each["call"] for each in page["sections"]["calls"]["rows"]} >= {"/post-events", "/track-user"}
    assert [each["name"] for each in page["sections"]["calls"]["columns"]][:2] == ["at", "call"]


# users


@pytest.mark.parametrize(
    ("by", "value"), [("user_id", "user-7"), ("email", " Jane@Example.com "), ("hwid", "device-7")]
)
@pytest.mark.parametrize("token", [ADMIN, VIEWER])
def test_a_user_is_found_by_any_identifier(flow: MaskedFlow, token: str, by: str, value: str) -> None:
    found: list[dict[str, Any]] = []

    def is_found() -> bool:
        found[:] = flow.rows("/users", "users", token, by=by, value=value)
        return bool(found)

    eventually(is_found, f"{by} finds the user")
    assert [each["application"] for each in found] == [APPLICATION]
    assert (found[0]["key"] == "user-7") is (token == ADMIN)


def test_nobody_is_found_by_an_identifier_of_nobody(flow: MaskedFlow) -> None:
    assert flow.rows("/users", "users", by="email", value="nobody@example.com") == []


@pytest.mark.parametrize("asked", [{"by": "name", "value": "x"}, {"by": "email", "value": "x" * 600}])
def test_a_search_that_makes_no_sense_is_refused(flow: MaskedFlow, asked: dict[str, str]) -> None:
    assert flow.ask("/users.json", **asked)[0] == 400


def test_one_user_shows_devices_and_tags(flow: MaskedFlow) -> None:
    page = flow.page(f"/users/{APPLICATION}/user-7")

    assert [(each["hwid"], each["platform"]) for each in page["sections"]["devices"]["rows"]] == [("device-7", "iOS")]
    assert [(each["tag"], each["value"], each["is_known"]) for each in page["sections"]["tags"]["rows"]] == [
        ("plan", "gold", False)
    ]


def test_a_viewer_sees_a_user_and_not_who_it_is(flow: MaskedFlow) -> None:
    (found,) = flow.rows("/users", "users", VIEWER, user_id="user-7")
    texts = [flow.ask(f"/users/{APPLICATION}/{found['key']}{extension}", VIEWER) for extension in ("", ".json")]
    texts += [flow.ask(f"/tables/users{extension}", VIEWER) for extension in ("", ".json")]

    assert [status for status, _ in texts] == [200, 200, 400, 400]
    assert not any(each in text for _, text in texts for each in ("user-7", "jane@example.com", "device-7", "gold"))


def test_an_unknown_user_is_not_there(flow: MaskedFlow) -> None:
    assert [flow.ask(f"/users/{APPLICATION}/{key}.json")[0] for key in ("nobody", "%00", "..%2f")] == [404, 400, 400]


@pytest.mark.parametrize("token", [VIEWER, OPERATOR])
def test_only_an_admin_deletes_a_user(flow: MaskedFlow, token: str) -> None:
    assert flow.ask(f"/users/{APPLICATION}/user-7/delete", token, body={})[0] == 403


def test_a_deleted_user_is_gone_and_the_audit_log_has_the_proof(flow: MaskedFlow) -> None:
    flow.track(user_id="user-8", email="john@example.com")
    eventually(lambda: flow.ask(f"/users/{APPLICATION}/user-8.json")[0] == 200, "the user is known")
    status, _ = flow.ask(f"/users/{APPLICATION}/user-8/delete", body={})

    assert status == 200
    eventually(lambda: flow.ask(f"/users/{APPLICATION}/user-8.json")[0] == 404, "the user is gone")
    eventually(lambda: any("delet" in each["what"] for each in flow.rows("/audit", "audit")), "there is a proof")
    assert "user-8" not in flow.ask("/audit.json")[1]


# by the listener


def test_a_request_to_the_listener_is_in_the_log_within_seconds(flow: MaskedFlow) -> None:
    began_s = time.time()
    body = {"user": {"id": "user-7"}, "total": 7}
    eventually(
        lambda: flow.call("/webhooks/heard", body, Authorization=f"Bearer {SECRET}") == 200, "a request is accepted"
    )
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = flow.rows("/webhooks/heard", "requests", result="success", at__gte=began_s)
        return bool(found)

    eventually(is_there, "the request is in the log")
    assert (found[0]["user_id"], json.loads(found[0]["preview"])) == ("user-7", body)
