"""Two workers' tables as one: exact sums, named gaps, no row twice."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.traffic import events
from tests.support.worker_pair import ADMIN, PARTITIONS, VIEWER, Deployment
from tests.support.worker_process import eventually

INTEGRATIONS = 24
EVENTS = 60
EMAIL = "ana.masked@example.com"


def integrations() -> list[dict]:
    """Windows that stay open, so that what was matched stands still; one is sealed at once, and cannot be delivered."""
    common = {"kind": "http", "events": ["*"], "platforms": ["*"], "live_activities": True}
    waiting = [
        {"id": f"open-{number:02d}", **common, "url": "http://127.0.0.1:9/", "batch": {"max_events": 10_000}}
        for number in range(INTEGRATIONS)
    ]
    sealed = {
        "id": "refused",
        **common,
        "url": "http://127.0.0.1:9/",
        "batch": {"max_events": 10},
        "retry": {"delays": []},
        "breaker": {"enabled": False},
    }
    return [*waiting, sealed]


def with_email(event: bytes) -> bytes:
    return event[:-1] + b',"email":"%b"}' % EMAIL.encode()


def filled(deployment: Deployment) -> Deployment:
    deployment.add(2)
    deployment.share()
    deployment.publish(with_email(event) for event in events(7, EVENTS))
    total = EVENTS * (INTEGRATIONS + 1)

    def is_settled() -> bool:
        rows = lanes(deployment)
        return sum(row["matched"] for row in rows) == total and sum(row["parked"] for row in rows) == EVENTS

    eventually(is_settled, "all events have their place", 60)
    return deployment


def lanes(deployment: Deployment, asked: int = 0) -> list[dict]:
    """All lanes, from the pages of all workers."""
    worker = deployment.workers[asked]
    found = []
    for each in worker.page("/workers").rows("workers"):
        page = worker.page(f"/workers/{quote(each['worker'], safe='')}")
        found += page.rows("lanes")
    return found


@pytest.fixture(scope="module", params=["rocksdb://", "memory://"])
def pair(request: pytest.FixtureRequest, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers with all events in their tables; only to be looked at."""
    with Deployment(kafka, tmp_path_factory.mktemp("pair"), integrations(), store=request.param) as deployment:
        yield filled(deployment)


def test_the_rows_of_both_workers_are_all_there_once_whichever_is_asked(pair: Deployment):
    wanted = {f"open-{number:02d}/0" for number in range(INTEGRATIONS)}
    for worker in pair.workers:
        answer = worker.page("/tables/windows", size="all", kind="window")
        keys = Counter(row["key"] for row in answer.rows("rows"))
        assert answer.is_complete
        assert wanted <= keys.keys()
        assert set(keys.values()) == {1}


def test_rows_come_from_both_workers(pair: Deployment):
    answer = pair.workers[0].page("/tables/windows", size="all")
    assert {row["worker"] for row in answer.rows("rows")} == {worker.url for worker in pair.workers}
    assert {row["partition"] for row in answer.rows("rows")} == set(range(PARTITIONS))


def test_each_event_that_was_matched_is_in_the_rows(pair: Deployment):
    answer = pair.workers[1].page("/tables/windows", size="all", kind="window")
    counts = Counter()
    for row in answer.rows("rows"):
        counts[row["integration"]] += row["value"]["events"]
    assert {name: counts[name] for name in counts if name.startswith("open-")} == {
        f"open-{number:02d}": EVENTS for number in range(INTEGRATIONS)
    }


def test_lanes_of_both_workers_add_up_to_all_events(pair: Deployment):
    rows = lanes(pair)
    assert len({row["lane"] for row in rows}) == len(rows) == INTEGRATIONS + 1
    assert sum(row["open"] for row in rows) == INTEGRATIONS * EVENTS
    assert sum(row["missing"] for row in rows) == 0


def test_pages_in_the_order_of_keys_meet_every_row_once(pair: Deployment):
    whole = [row["id"] for row in pair.workers[0].page("/tables/windows", size="all").rows("rows")]
    found, after = [], ""
    while True:
        answer = pair.workers[1].page("/tables/windows", size=7, **({"after": after} if after else {}))
        found += [row["id"] for row in answer.rows("rows")]
        after = answer.body["sections"]["rows"]["next"]
        if not after:
            break
    assert found == whole


def test_pages_in_another_order_meet_every_row_once(pair: Deployment):
    whole = [row["id"] for row in pair.workers[0].page("/tables/windows", size="all", sort="-size_bytes").rows("rows")]
    found, after = [], ""
    while True:
        more = {"after": after} if after else {}
        answer = pair.workers[0].page("/tables/windows", size=7, sort="-size_bytes", **more)
        found += [row["id"] for row in answer.rows("rows")]
        after = answer.body["sections"]["rows"]["next"]
        if not after:
            break
    assert found == whole


def test_facets_add_up_over_both_workers(pair: Deployment):
    answer = pair.workers[0].page("/tables/windows", facet="kind", size=1)
    whole = Counter(row["kind"] for row in pair.workers[0].page("/tables/windows", size="all").rows("rows"))
    facets = {each["value"]: each["count"] for each in answer.body["sections"]["rows"]["facets"]["kind"]}
    assert facets == dict(whole)


@pytest.mark.parametrize("asked", [{"since": "499999999999d"}, {"until": "9999-12-31"}, {"since": "1970-01-01"}])
def test_bars_over_any_length_of_time_are_few(pair: Deployment, asked: dict[str, str]):
    assert len(pair.workers[0].page("/attempts", **asked).rows("over_time")) <= 600


def test_csv_has_the_rows_of_json(pair: Deployment):
    rows = pair.workers[0].page("/tables/windows", size="all").rows("rows")
    assert [row["id"] for row in pair.workers[1].csv("/tables/windows", size="all")] == [row["id"] for row in rows]


def test_one_key_is_shown_with_its_owner_and_its_history(pair: Deployment):
    answer = pair.workers[0].page(f"/tables/windows/{quote('open-03/0', safe='')}")
    [row] = answer.rows("row")
    assert row["worker"] in {worker.url for worker in pair.workers}
    assert len(row["value"]["shown"]) == row["value"]["events"] > 0
    history = answer.rows("history")
    assert history[0]["counts"] is True
    assert history[0]["value"]["first"] == row["value"]["first"]


def test_a_key_that_does_not_exist_is_not_found(pair: Deployment):
    assert pair.workers[0].page("/tables/windows/nobody").status == 404


def test_a_record_is_shown_at_its_own_address(pair: Deployment):
    answer = pair.workers[0].page(f"/topics/{pair.topic}/0/0")
    parts = {row["part"]: row["value"] for row in answer.rows("record")}
    assert parts["decoded"]["email"] == EMAIL
    assert EMAIL in parts["raw"]


def test_every_topic_of_the_app_is_listed_with_its_records(pair: Deployment):
    def topics() -> dict[str, dict]:
        return {row["topic"]: row for row in pair.workers[0].page("/topics").rows("topics")}

    eventually(lambda: topics()[pair.topic]["end"] == EVENTS, "what was written is counted")
    rows = topics()
    assert rows[f"{pair.app}-windows-changelog"]["partitions"] == PARTITIONS
    assert rows[f"{pair.app}-attempts"]["retention_s"] == 7 * 86400


def test_all_tables_are_listed_with_rows_of_both_workers(pair: Deployment):
    rows = {row["table"]: row for row in pair.workers[0].page("/tables").rows("tables")}
    assert rows["windows"]["partitions"] == PARTITIONS
    assert rows["windows"]["rows"] >= INTEGRATIONS


@pytest.mark.parametrize(
    "path",
    [
        "/tables",
        "/tables/windows",
        "/tables/pending-http",
        "/tables/integrations",
        "/tables/windows/open-00%2F0",
        "/workers",
        "/topics",
        "/topics/{topic}",
        "/topics/{app}-routed",
        "/topics/{app}-windows-changelog",
        "/topics/{topic}/0/0",
    ],
)
@pytest.mark.parametrize("twin", ["", ".json", ".csv"])
def test_every_page_is_there_in_three_formats(pair: Deployment, path: str, twin: str):
    status, text = pair.workers[0].fetch(path.format(topic=pair.topic, app=pair.app) + twin)
    assert status == 200, text
    assert text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tables/nothing", 404),
        ("/tables/windows/0xzz", 400),
        ("/tables/windows/nobody%2F0", 404),
        ("/topics/nothing", 404),
        ("/topics/{topic}/0/999999", 404),
        ("/topics/{topic}/x/0", 400),
        ("/topics/{topic}/0/-1", 400),
        ("/topics/{topic}/0/99999999999999999999", 400),
        ("/workers/http%3A%2F%2Fnobody", 404),
        ("/tables/windows?nothing=1", 400),
        ("/tables/windows?after=x", 400),
    ],
)
def test_what_is_not_there_is_refused_in_words(pair: Deployment, path: str, status: int):
    before, mark, after = path.format(topic=pair.topic).partition("?")
    found, text = pair.workers[0].fetch(f"{before}.json{mark}{after}")
    assert found == status, text


# what is masked


def test_a_viewer_sees_tags_in_place_of_personal_data(pair: Deployment):
    path = f"/topics/{pair.topic}/0/0"
    masked = pair.workers[0].page(path, token=VIEWER)
    assert EMAIL in pair.workers[0].fetch(f"{path}.json", ADMIN)[1]
    assert EMAIL not in pair.workers[0].fetch(f"{path}.json", VIEWER)[1]
    assert next(row["value"] for row in masked.rows("record") if row["part"] == "decoded")["email"].startswith("email:")


@pytest.mark.parametrize("word", [EMAIL, "ana.masked", "example.com"])
def test_a_viewer_finds_nothing_by_parts_of_what_is_masked(pair: Deployment, word: str):
    assert not pair.workers[0].page("/tables/windows", token=VIEWER, q=word).rows("rows")


# what is away


@pytest.fixture
def own_pair(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Two workers with all events in their tables, for one test that changes them."""
    with Deployment(kafka, tmp_path / "own", integrations()) as deployment:
        yield filled(deployment)


def test_a_killed_worker_is_named_with_its_partitions_within_a_second(own_pair: Deployment):
    left, dead = own_pair.workers
    owned = {
        row["partition"] for row in left.page("/tables/windows", size="all").rows("rows") if row["worker"] == dead.url
    }
    dead.kill()
    answer = left.page("/tables/windows", size="all")
    told = {each["worker"]: each for each in answer.body["coverage"]["workers"]}
    assert answer.took_s < 1.0
    assert not answer.is_complete
    assert set(answer.body["coverage"]["missing_partitions"]) == owned
    assert told[dead.url]["problem"]
    assert {row["worker"] for row in answer.rows("rows")} == {left.url}


def test_a_csv_that_lacks_a_worker_says_so_first(own_pair: Deployment):
    left, dead = own_pair.workers
    dead.kill()
    status, text = left.fetch("/tables/windows.csv?size=all")
    assert status == 206
    assert text.startswith("# incomplete:")
    assert dead.url in text.partition("\n")[0]


def test_no_row_comes_twice_while_partitions_move(own_pair: Deployment):
    wanted = Counter(row["id"] for row in own_pair.workers[0].page("/tables/windows", size="all").rows("rows"))
    answers = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            answers.append(own_pair.workers[0].page("/tables/windows", size=1000))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        own_pair.add()
        own_pair.share()
    finally:
        is_over.set()
        looking.join(30)
    assert answers
    for answer in answers:
        found = Counter(row["id"] for row in answer.rows("rows"))
        assert max(found.values(), default=1) == 1
        assert answer.body["coverage"]["complete"] == (found == wanted), answer.body["coverage"]
