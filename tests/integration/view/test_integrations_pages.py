"""The overview, the list of integrations, one of them and the audit log, of a worker at work."""

import csv
import io
import json
import re
from collections.abc import Iterator
from html import unescape

import pytest

from tests.support.viewed_integrations import ADMIN, VIEWER, Endpoint, ViewedWorker, ask, page, row, rows
from tests.support.worker_process import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SENT = 40
PAGES = ("/", "/integrations", "/integrations/crm", "/integrations/broken", "/integrations/slow/window", "/audit")


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewedWorker]:
    """One that has delivered to crm, and whose breaker for broken is open."""
    endpoint = Endpoint()
    worker = ViewedWorker(kafka, tmp_path_factory.mktemp("viewed"), endpoint)
    try:
        worker.start()
        worker.send(SENT)
        eventually(lambda: page(worker, "/integrations.json")["coverage"]["complete"], "the list is whole")
        eventually(
            lambda: row(worker, "crm")["delivered"] == SENT and row(worker, "crm")["last_success_at"], "crm has all"
        )
        eventually(lambda: row(worker, "broken")["state"] == "breaker open", "the breaker of broken opens")
        eventually(lambda: row(worker, "broken")["tries_24h"], "tries are counted")
        yield worker
    finally:
        if worker.worker is not None:
            worker.stop()
        endpoint.close()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_html_json_and_csv(worker: ViewedWorker, path: str) -> None:
    twin = "/index" if path == "/" else path
    statuses = [ask(worker, each, role=ADMIN)[0] for each in (path, f"{twin}.json", f"{twin}.csv?partial=ok")]

    assert statuses == [200, 200, 200]


def test_the_list_tells_each_integration_as_it_is(worker: ViewedWorker) -> None:
    states = {each["integration"]: each["state"] for each in rows(worker, "/integrations.json", "integrations")}

    assert states == {"crm": "ok", "broken": "breaker open", "slow": "ok", "off": "paused", "unused": "ok"}


def test_the_list_shows_what_the_last_day_was_like(worker: ViewedWorker) -> None:
    crm, broken = row(worker, "crm"), row(worker, "broken")

    assert (crm["delivered_24h"], crm["success"], sum(crm["trend"])) == (SENT, 100.0, SENT)
    assert (broken["success"], broken["waiting"]) == (0.0, SENT)
    assert "500" in broken["last_error"]


def test_the_list_has_counts_by_state_and_narrows_to_one(worker: ViewedWorker) -> None:
    found = page(worker, "/integrations.json?state=breaker+open&facet=state")["sections"]["integrations"]

    assert [each["integration"] for each in found["rows"]] == ["broken"]
    assert page(worker, "/integrations.json?facet=state")["sections"]["integrations"]["facets"]["state"]


def test_the_list_sorts_by_success_which_is_made_of_two_sums(worker: ViewedWorker) -> None:
    found = rows(worker, "/integrations.json?sort=success&success__gte=0", "integrations")

    assert [each["integration"] for each in found] == ["broken", "crm"]


def test_the_csv_of_the_list_has_the_rows_of_the_json(worker: ViewedWorker) -> None:
    _, text = ask(worker, "/integrations.csv?size=all&partial=ok")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]

    assert {each["integration"] for each in csv.DictReader(io.StringIO("".join(lines)))} == {
        each["integration"] for each in rows(worker, "/integrations.json", "integrations")
    }


@pytest.mark.parametrize("path", ["/integrations", "/integrations/crm", "/"])
def test_no_secret_is_shown(worker: ViewedWorker, path: str) -> None:
    twin = "/index" if path == "/" else path
    texts = [ask(worker, each, role=ADMIN)[1] for each in (path, f"{twin}.json", f"{twin}.csv")]

    assert not any(secret in text for text in texts for secret in ("hush-hush", "hidden-in-the-query"))


def test_the_ledger_of_one_adds_up_in_words(worker: ViewedWorker) -> None:
    heading = page(worker, "/integrations/crm.json")["sections"]["ledger"]["heading"]

    assert heading == f"{SENT} matched = {SENT} delivered; nothing is missing."


def test_one_page_says_why_nothing_is_delivered(worker: ViewedWorker) -> None:
    _, text = ask(worker, "/integrations/broken")

    assert "The breaker is open after" in text
    assert "Resume" in text


def test_a_section_of_one_integration_is_had_whole_as_csv(worker: ViewedWorker) -> None:
    _, text = ask(worker, "/integrations/slow.csv?section=window&size=all")

    assert len(text.splitlines()) == SENT + 1


def test_the_events_of_an_open_window_are_masked_for_a_viewer(worker: ViewedWorker) -> None:
    seen = page(worker, "/integrations/slow/window.json", role=VIEWER)["sections"]["events"]["rows"]

    assert len(seen) == SENT
    assert "device-" not in json.dumps(seen)


def test_the_events_of_an_open_window_are_whole_for_an_admin(worker: ViewedWorker) -> None:
    seen = rows(worker, "/integrations/slow/window.json?sort=number", "events")

    assert {each["hwid"] for each in seen} == {f"device-{number}" for number in range(SENT)}


def test_an_open_window_says_when_it_is_sealed(worker: ViewedWorker) -> None:
    found = page(worker, "/integrations/slow/window.json")["facts"]

    assert found["sealed_at"] - found["opened_at"] == pytest.approx(50 * 60)


def test_an_unknown_integration_is_guessed_at(worker: ViewedWorker) -> None:
    status, text = ask(worker, "/integrations/brokn.json")

    assert (status, "did you mean broken?" in text) == (404, True)


def test_the_overview_names_the_breaker_first_and_leads_to_it(worker: ViewedWorker) -> None:
    found = rows(worker, "/index.json", "attention")

    assert (found[0]["level"], found[0]["where"], found[0]["url"]) == ("critical", "broken", "/integrations/broken")
    assert found[0]["since"] is not None


def test_the_overviews_ledger_adds_up(worker: ViewedWorker) -> None:
    facts = page(worker, "/index.json")["facts"]

    parts = ("delivered", "open", "waiting", "parked", "discarded", "missing")
    assert facts["matched"] == sum(facts[name] for name in parts) == 3 * SENT


def test_every_link_of_the_overview_leads_somewhere(worker: ViewedWorker) -> None:
    urls = [each["url"] for each in rows(worker, "/index.json", "attention")]

    assert {ask(worker, url)[0] for url in urls} == {200}


@pytest.mark.parametrize("path", ["/integrations/slow?verdict=delivered&sort=-status", "/integrations/broken"])
def test_every_table_of_one_integration_can_be_turned_and_had_whole(worker: ViewedWorker, path: str) -> None:
    links = {unescape(each) for each in re.findall(r'href="(/integrations/[^"?]*\?[^"]*)"', ask(worker, path)[1])}

    turned = {each for each in links if "after=" in each}
    assert turned or path.endswith("broken")
    assert {each: ask(worker, each)[0] for each in links} == dict.fromkeys(links, 200)


def test_the_next_page_of_open_events_goes_on_where_the_first_one_ends(worker: ViewedWorker) -> None:
    first = page(worker, "/integrations/slow.json")["sections"]["window"]
    then = rows(worker, f"/integrations/slow.json?section=window&after={first['next']}", "window")

    assert then[0]["number"] == first["rows"][-1]["number"] + 1


@pytest.mark.parametrize(
    "path",
    [
        "/workers.csv?section=partitions&topic=view-all-routed",
        "/workers.csv?section=partitions&sort=-topic",
        "/workers?section=partitions&partition=0",
        "/topics.csv?section=lag&worker__not=x",
    ],
)
def test_a_condition_is_asked_of_the_section_that_is_named(worker: ViewedWorker, path: str) -> None:
    status, text = ask(worker, path)

    assert status == 200, text


def test_a_viewer_may_not_resume(worker: ViewedWorker) -> None:
    assert ask(worker, "/integrations/broken/resume", role=VIEWER, form={})[0] == 403


def test_what_nothing_holds_back_cannot_be_resumed(worker: ViewedWorker) -> None:
    assert ask(worker, "/integrations/crm/resume", form={})[0] == 409


def test_an_unknown_audit_entry_is_not_there(worker: ViewedWorker) -> None:
    assert [ask(worker, f"/audit/{each}.json")[0] for each in ("999999", "-1", "x" * 100)] == [404, 404, 404]
