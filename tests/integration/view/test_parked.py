"""What failed is seen, found, counted and replayed in the view: on a whole worker and real Kafka."""

import json
from collections.abc import Iterator

import pytest

from tests.support.viewed_flow import OPERATOR, SECRET, VIEWER, ViewedFlow, event
from tests.support.worker_process import eventually

EVENTS = 40


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewedFlow]:
    """``shop`` takes its events; those of ``crm`` are parked."""
    flow = ViewedFlow("parked", kafka, tmp_path_factory.mktemp("parked"))
    flow.customers.answers["crm"] = 503
    flow.start()
    try:
        flow.send(*(event("CRM", number) for number in range(EVENTS)), *(event("SHOP", 100 + n) for n in range(5)))
        eventually(
            lambda: sum(row["events"] for row in flow.rows("/parked", "parked")) == EVENTS, "all of crm is parked"
        )
        eventually(
            lambda: flow.rows("/batches", "batches", integration="shop", outcome="delivered"), "shop has its events"
        )
        yield flow
    finally:
        flow.close()


def test_attempts_are_listed_with_counts_and_over_time(flow: ViewedFlow) -> None:
    page = flow.page("/attempts", integration="crm", status=503)  # a replay, if there was one, had other answers
    attempts = page["sections"]["attempts"]
    assert {row["attempt"] for row in attempts["rows"]} == {1, 2}
    counted = dict(_pairs(attempts["facets"]["final"]))
    assert counted["parked"] * 2 == len(attempts["rows"])
    over_time = page["sections"]["over_time"]["rows"]
    assert sum(row["retry"] for row in over_time) == len(attempts["rows"])


def _pairs(facet: list) -> list:
    return [tuple(each.values()) if isinstance(each, dict) else tuple(each) for each in facet]


def test_an_attempt_is_shown_with_its_request_and_without_secrets(flow: ViewedFlow) -> None:
    row = flow.rows("/attempts", "attempts", integration="shop")[0]
    status, text = flow.ask(f"/attempts/{row['partition']}/{row['offset']}")
    assert status == 200
    assert "webhook-id: " + row["batch"] in text
    assert "user-10" in text
    assert SECRET not in text
    assert "a-secret-of-a-customer" not in text


def test_a_viewer_sees_no_personal_data_in_a_request(flow: ViewedFlow) -> None:
    row = flow.rows("/attempts", "attempts", integration="shop")[0]
    _, text = flow.ask(f"/attempts/{row['partition']}/{row['offset']}", VIEWER)
    assert "user_id:" in text
    assert "user-10" not in text


def test_a_batch_tells_its_story(flow: ViewedFlow) -> None:
    name = flow.rows("/batches", "batches", integration="shop")[0]["batch"]
    page = flow.page(f"/batches/{name}")
    assert page["facts"]["outcome"] == "delivered"
    events = page["sections"]["events"]["rows"]
    assert {row["user_id"] for row in events} <= {f"user-{100 + number}" for number in range(5)}
    assert [row["attempt"] for row in page["sections"]["tries"]["rows"]] == [1]


@pytest.mark.parametrize(
    "path", ["/batches/nothing", "/batches/crm:7777-8888", "/attempts/0/999999", "/attempts/x/1", "/replays/none"]
)
def test_what_is_not_there_is_not_found(flow: ViewedFlow, path: str) -> None:
    assert flow.ask(f"{path}.json")[0] == 404
    assert flow.ask(path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/attempts", "/batches", "/parked", "/dead-letters", "/notices", "/replays", "/events", "/parked/replay"]
)
def test_every_page_has_three_formats(flow: ViewedFlow, path: str) -> None:
    for extension in ("", ".json", ".csv"):
        status, text = flow.ask(path + extension)
        assert (status, bool(text)) == (200, True), text


@pytest.mark.parametrize(
    "parameters",
    [
        {"since": "yesterday"},
        {"nothing": "1"},
        {"sort": "nothing"},
        {"after": "x"},
        {"status__gt": "many"},
        {"size": "0"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/attempts.json", "/batches.json", "/parked.json", "/dead-letters.json", "/notices.json"]
)
def test_what_makes_no_sense_is_refused(flow: ViewedFlow, path: str, parameters: dict) -> None:
    assert flow.ask(path, **parameters)[0] == 400


def test_a_replay_is_counted_before_it_is_agreed_to(flow: ViewedFlow) -> None:
    parked = flow.rows("/parked", "parked", integration="crm")
    page = flow.page("/parked/replay", OPERATOR, integration="crm")
    assert (page["facts"]["batches"], page["facts"]["events"]) == (len(parked), sum(row["events"] for row in parked))
    body = {"integration": "crm", "expected": str(len(parked) + 1)}
    status, text = flow.ask("/parked/replay", OPERATOR, body)
    assert status == 412, text
    assert flow.ask("/parked/replay", OPERATOR, {"integration": "crm"})[0] == 422


def test_a_viewer_may_not_replay(flow: ViewedFlow) -> None:
    assert flow.ask("/parked/replay", VIEWER)[0] == 403
    assert flow.ask("/parked/replay", VIEWER, {"expected": "1"})[0] == 403


def test_a_replay_for_nothing_is_refused(flow: ViewedFlow) -> None:
    assert flow.ask("/parked/replay", OPERATOR, {"integration": "nobody", "expected": "0"})[0] == 404


def test_a_replay_that_was_stopped_leaves_the_rest_parked_and_the_next_one_ends_it(flow: ViewedFlow) -> None:
    parked = flow.rows("/parked", "parked", integration="crm")
    events = sum(row["events"] for row in parked)
    flow.customers.answers["crm"] = 200
    begun = flow.ask("/parked/replay", OPERATOR, {"integration": "crm", "expected": str(len(parked)), "rate": "0.1"})
    assert begun[0] == 200, begun
    name = json.loads(begun[1])["replay"]
    status, text = flow.ask(f"/replays/{name}/stop", OPERATOR, {})
    assert status == 200, text
    eventually(lambda: flow.page(f"/replays/{name}")["facts"]["state"] == "stopped", "the replay is stopped")
    outcomes = [row["outcome"] for row in flow.rows(f"/replays/{name}", "rows")]
    assert len(outcomes) == len(parked)
    asked = outcomes.count("asked")
    assert asked < len(parked)

    eventually(
        lambda: len(flow.rows("/parked", "parked", integration="crm")) == len(parked) - asked, "the index knows it"
    )
    left = len(parked) - asked
    again = flow.ask("/parked/replay", OPERATOR, {"integration": "crm", "expected": str(left), "rate": "500"})
    assert again[0] == 200, again
    name = json.loads(again[1])["replay"]
    eventually(lambda: flow.page(f"/replays/{name}")["facts"]["state"] == "done", "the replay is done")
    assert {row["outcome"] for row in flow.rows(f"/replays/{name}", "rows")} == {"asked"}

    eventually(lambda: not flow.rows("/parked", "parked", integration="crm"), "nothing is parked any more")
    eventually(
        lambda: (
            sum(row["events"] for row in flow.rows("/batches", "batches", reason="replay", outcome="delivered"))
            == events
        ),
        "all events were delivered",
    )
    bodies = [each for _, body in flow.customers.came["crm"] for each in json.loads(body)]
    assert sorted(each["user_id"] for each in bodies) == sorted(f"user-{number}" for number in range(EVENTS))
    assert {row["state"] for row in flow.rows("/parked", "parked", integration="crm", state="replayed")} == {"replayed"}
