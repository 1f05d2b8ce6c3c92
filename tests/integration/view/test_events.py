"""Events are found in the topics, and followed to where they went: on a whole worker and real Kafka."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.view.columns import Personal
from pipeline.view.mask import mask_value
from tests.support.viewed_flow import ADMIN, VIEWER, ViewedFlow, event
from tests.support.worker_process import eventually

EVENTS = 60


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewedFlow]:
    """``shop`` has its events, three of which tell of user-3; ``crm`` refuses its one."""
    flow = ViewedFlow("events", kafka, tmp_path_factory.mktemp("events"))
    flow.customers.answers["crm"] = 400
    flow.start()
    try:
        flow.send(
            *(event("SHOP", number, user_id=f"user-{number % 20}") for number in range(EVENTS)),
            event("CRM", 500, user_id="user-500", hwid="a-device", campaign_code="WINTER"),
            {key: value for key, value in event("SHOP", 501, user_id="nameless").items() if key != "uuid"},
            event("ELSEWHERE", 502, user_id="nobody-takes-me"),
        )
        eventually(
            lambda: sum(row["events"] for row in flow.rows("/batches", "batches")) == EVENTS + 2, "all are in batches"
        )
        yield flow
    finally:
        flow.close()


def found(flow: ViewedFlow, token: str = ADMIN, **parameters: str) -> list[dict]:
    return flow.rows("/events/found", "events", token, since="1h", **parameters)


def told(flow: ViewedFlow, **parameters: str) -> list[tuple[str, str]]:
    """What a search by server-sent events says: names and data."""
    url = f"http://127.0.0.1:{flow.port}/events/search?{urllib.parse.urlencode(parameters)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ADMIN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    said = []
    for part in text.split("\n\n"):
        fields = [line.partition(": ")[::2] for line in part.splitlines()]
        name = next((value for key, value in fields if key == "event"), "")
        if name:
            said.append((name, "\n".join(value for key, value in fields if key == "data")))
    return said


def test_the_last_events_are_listed_the_newest_first(flow: ViewedFlow) -> None:
    rows = flow.rows("/events", "events", size="1000")
    assert len(rows) == EVENTS + 3
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    assert len(flow.rows("/events", "events", application_code="CRM")) == 1


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"user_id": "user-3"}, 3),
        ({"uuid": "00000000-0000-4000-8000-000000000007"}, 1),
        ({"hwid": "a-device"}, 1),
        ({"campaign": "WINTER"}, 1),
        ({"user_id": "user-3", "uuid": "00000000-0000-4000-8000-000000000007"}, 0),
        ({"user_id": "user"}, 0),
        ({"user_id": "user-3", "in": "batches"}, 3),
        ({"user_id": "user-3", "in": "both"}, 6),
    ],
)
def test_a_search_finds_what_is_there(flow: ViewedFlow, parameters: dict, count: int) -> None:
    assert len(found(flow, **parameters)) == count


def test_a_search_ends_with_everything_read(flow: ViewedFlow) -> None:
    facts = flow.page("/events/found", user_id="user-3", since="1h")["facts"]
    assert (facts["found"], facts["complete"], facts["next"]) == (3, True, None)


def test_a_search_of_another_time_finds_nothing(flow: ViewedFlow) -> None:
    assert flow.rows("/events/found", "events", user_id="user-3", since="2020-01-01", until="2020-01-02") == []


def test_an_event_without_an_id_of_its_own_is_found_by_the_one_that_was_made(flow: ViewedFlow) -> None:
    (row,) = [row for row in flow.rows("/events", "events", size="1000") if row["user_id"] == "nameless"]
    (hit,) = found(flow, uuid=row["uuid"])
    assert (hit["partition"], hit["offset"]) == (row["partition"], row["offset"])


def test_a_viewer_finds_a_person_by_the_whole_id_or_its_tag_and_sees_the_tag(flow: ViewedFlow) -> None:
    tag = mask_value(Personal.USER_ID, "user-3")
    for asked in ("user-3", tag):
        rows = found(flow, VIEWER, user_id=asked)
        assert [row["user_id"] for row in rows] == [tag] * 3


def test_hits_come_as_they_are_found_and_the_end_is_told(flow: ViewedFlow) -> None:
    said = told(flow, user_id="user-3")
    rows = "".join(data for name, data in said if name == "rows")
    assert rows.count("<tr") == 3
    assert f"/events/{flow.topic}/" in rows
    assert said[-1][0] == "end"
    assert any(name == "progress" and 0 <= json.loads(data)["share"] <= 1 for name, data in said)


@pytest.mark.parametrize(
    "parameters", [{}, {"user_id": ""}, {"user_id": "x", "in": "everywhere"}, {"user_id": "x", "since": "never"}]
)
def test_a_search_that_makes_no_sense_is_refused(flow: ViewedFlow, parameters: dict) -> None:
    assert flow.ask("/events/found.json", **parameters)[0] == 400


def test_the_page_searches_with_and_without_script(flow: ViewedFlow) -> None:
    status, text = flow.ask("/events", user_id="user-3", since="1h", **{"in": "source"})
    assert status == 200
    assert "data-stream=" in text
    assert "/events/found?" in text


@pytest.mark.parametrize("extension", ["json", "csv"])
def test_a_search_is_the_same_for_programs(flow: ViewedFlow, extension: str) -> None:
    asked = {"event_name": "Push Sent", "in": "source", "since": "2h"}
    _, searched = flow.ask(f"/events.{extension}", **asked)
    _, found = flow.ask(f"/events/found.{extension}", **asked)

    def rows(text: str) -> Any:
        return json.loads(text)["sections"]["events"]["rows"] if extension == "json" else text.splitlines()[1:]

    assert rows(searched) == rows(found) != []


def test_the_list_of_the_last_events_says_that_it_is_no_search(flow: ViewedFlow) -> None:
    _, text = flow.ask("/events", user_id="nobody")

    assert "Only the last" in text
    assert "Only the last" not in flow.ask("/events")[1]


def test_an_event_leads_to_its_batch_and_its_try(flow: ViewedFlow) -> None:
    (hit,) = found(flow, uuid="00000000-0000-4000-8000-000000000007")
    page = flow.page(f"/events/{hit['topic']}/{hit['partition']}/{hit['offset']}")
    judged = {row["integration"]: row for row in page["sections"]["integrations"]["rows"]}
    assert (judged["shop"]["state"], judged["crm"]["state"]) == ("matched", "refused")
    assert judged["crm"]["because"].startswith("applications: takes CRM")
    batch = flow.page(f"/batches/{judged['shop']['batch']}")
    assert "00000000-0000-4000-8000-000000000007" in {row["uuid"] for row in batch["sections"]["events"]["rows"]}
    assert [row["verdict"] for row in page["sections"]["tries"]["rows"]] == ["delivered"]


def test_an_event_that_nobody_takes_says_so(flow: ViewedFlow) -> None:
    (hit,) = found(flow, user_id="nobody-takes-me")
    page = flow.page(f"/events/{hit['topic']}/{hit['partition']}/{hit['offset']}")
    assert {row["state"] for row in page["sections"]["integrations"]["rows"]} == {"refused"}
    assert page["sections"]["tries"]["rows"] == []


@pytest.mark.parametrize(
    "path", ["/events/{topic}/0/99999", "/events/{topic}/77/0", "/events/other-topic/0/0", "/events/{topic}/a/b"]
)
def test_a_place_without_an_event_is_not_found(flow: ViewedFlow, path: str) -> None:
    assert flow.ask(path.format(topic=flow.topic))[0] == 404


def test_a_viewer_sees_an_event_masked(flow: ViewedFlow) -> None:
    (hit,) = found(flow, VIEWER, user_id="user-500")
    _, text = flow.ask(f"/events/{hit['topic']}/{hit['partition']}/{hit['offset']}", VIEWER)
    assert "user-500" not in text
    assert mask_value(Personal.USER_ID, "user-500") in text
