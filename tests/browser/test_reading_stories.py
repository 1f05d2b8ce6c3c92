"""What people do to find out: sign in, search, ask in SQL, watch a page that lives."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Desk
from tests.browser.looking import barriers, walk_by_keyboard, wider_than_screen
from tests.browser.scene import OPERATOR, VIEWER, Scene
from tests.browser.short_sessions import ShortSessions

SOON_MS = 30_000
Picture = Callable[[Page, str], None]
# Presses the button as soon as the first progress is told, however quick the search is.
STOP_AT_ONCE = """
new MutationObserver(() => {
    const told = document.querySelector("[data-stream-state]")?.textContent.match(/([0-9,]+) records read/);
    if (!told || window.readThen) return;
    window.readThen = told[1].replaceAll(",", "");
    document.querySelector("[data-stream-stop]").click();
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
# Is kept as soon as an answer has come and what it does to the page is done.
ARRIVAL = """() => {
    window.arrival = new Promise((keep) =>
        document.addEventListener("htmx:before:swap", () => setTimeout(keep, 100), { once: true }));
}"""


@pytest.fixture
def short_sessions() -> Iterator[ShortSessions]:
    served = ShortSessions()
    yield served
    served.close()


def test_a_wrong_token_is_told_and_the_right_one_leads_to_the_page_that_was_asked_for(
    desk: Desk, scene: Scene, picture: Picture
) -> None:
    page = desk.guest()
    desk.allow("status of 401")
    page.goto(f"{scene.url}/attempts?status=503")
    expect(page.locator("h1")).to_have_text("Sign in")
    assert (barriers(page), walk_by_keyboard(page), wider_than_screen(page, 360)) == ([], ([], []), [])
    picture(page, "sign in")

    page.get_by_label("Token").fill("a token that nobody has")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Token")).to_have_value("")

    page.get_by_label("Token").fill(VIEWER)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{scene.url}/attempts?status=503")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{scene.url}/attempts")
    expect(page.locator("h1")).to_have_text("Sign in")


def test_a_session_ends_in_its_time_and_signing_in_goes_on_where_it_ended(
    desk: Desk, short_sessions: ShortSessions
) -> None:
    page = desk.guest()
    desk.allow("status of 401", short_sessions.url)
    page.goto(f"{short_sessions.url}/shelf?q=7")
    page.get_by_label("Token").fill(short_sessions.token)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Shelf")

    short_sessions.pass_hours(13)
    page.reload()
    expect(page.locator("h1")).to_have_text("Sign in")
    page.get_by_label("Token").fill(short_sessions.token)
    page.keyboard.press("Enter")

    page.wait_for_url(f"{short_sessions.url}/shelf?q=7")
    expect(page.locator("h1")).to_have_text("Shelf")


def test_a_viewer_sees_no_acts_and_no_personal_data_and_may_not_act(desk: Desk, scene: Scene, picture: Picture) -> None:
    page = desk.reader(VIEWER)
    for path in ("/integrations", "/integrations/crm", "/parked", "/dead-letters", "/attempts"):
        page.goto(scene.url + path)
        assert page.locator("main form[method=post]").count() == 0
        assert (
            page.get_by_role("main").get_by_role("link", name=re.compile("^(New|Edit|Replay (all|parked))")).count()
            == 0
        )
    scene.send("CRM", 7)
    page.goto(f"{scene.url}/events?application_code=CRM")
    expect(page.locator("#events tbody tr").first).to_be_visible()
    assert "@mail.example" not in page.content()
    picture(page, "story viewer")
    csrf = page.locator('form[action="/sign-out"] input[name=csrf_token]').get_attribute("value")

    for path in ("/integrations/crm/disable", "/integrations/crm/resume", "/parked/replay", "/integrations/crm/delete"):
        answer = page.request.post(
            scene.url + path, form={"csrf_token": csrf or "", "expected": "1"}, headers={"Origin": scene.url}
        )
        assert (path, answer.status) == (path, 403)


def test_an_operator_replays_but_makes_no_integrations(desk: Desk, scene: Scene) -> None:
    page = desk.reader(OPERATOR)
    page.goto(f"{scene.url}/parked")
    expect(page.get_by_role("link", name="Replay all that match …")).to_be_visible()
    page.goto(f"{scene.url}/integrations")
    assert page.get_by_role("link", name="New", exact=True).count() == 0


def test_an_event_is_found_by_its_id_with_everything_that_became_of_it(
    desk: Desk, scene: Scene, picture: Picture
) -> None:
    wanted = scene.send("CRM", 10)[3]
    scene.await_came("crm", lambda came: wanted in {each["uuid"] for each in came}, "the event is delivered")
    page = desk.reader()
    page.goto(f"{scene.url}/events")
    page.get_by_label("Uuid").fill(wanted)
    page.get_by_role("combobox", name="In", exact=True).select_option("both")
    page.get_by_role("button", name="Search the topics").click()

    found = page.locator("[data-stream-rows] tr")
    expect(found.first).to_be_visible(timeout=SOON_MS)
    expect(page.locator("[data-stream-state]")).to_contain_text("everything was read", timeout=SOON_MS)
    expect(found).to_have_count(2)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert barriers(page) == []
    picture(page, "story search")

    found.first.get_by_role("link").first.click()
    expect(page.locator("h1")).to_contain_text("Event")
    expect(page.get_by_role("main")).to_contain_text("crm")


def test_a_search_that_takes_long_shows_its_progress_and_is_stopped(desk: Desk, scene: Scene, picture: Picture) -> None:
    scene.send_much(20_000)
    page = desk.reader()
    page.add_init_script(STOP_AT_ONCE)
    page.goto(f"{scene.url}/events?user_id=user-in-the-middle&in=source&since=1h")

    expect(page.locator("[data-stream-state]")).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert 0 < int(page.evaluate("window.readThen")) < 20_000
    picture(page, "story search stopped")


def test_a_question_is_answered_by_an_example_of_sql(desk: Desk, scene: Scene, picture: Picture) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/sql")
    examples = page.locator("section[aria-labelledby=sql-examples-title] a")
    hrefs = [each.get_attribute("href") or "" for each in examples.all()]
    assert len(hrefs) >= 3
    for href in hrefs:
        page.goto(scene.url + href)
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("#result")).to_be_visible()

    page.get_by_role("textbox", name="Query").fill(
        "SELECT integration, count(*) AS tries FROM attempts GROUP BY ALL ORDER BY tries DESC"
    )
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result tbody")).to_contain_text("billing")
    assert barriers(page) == []
    picture(page, "story sql")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Parquet").click()
    assert begun.value.path().read_bytes()[:4] == b"PAR1"


def test_a_page_that_lives_is_paused_and_goes_on(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/about")
    page.goto(f"{scene.url}/workers")
    page.get_by_role("link", name="Live").click()
    page.wait_for_url(re.compile("refresh=5"))
    page.goto(f"{scene.url}/workers?refresh=2")
    with page.expect_response(re.compile(r"/workers\?refresh=2")):
        pass

    page.keyboard.press("p")
    expect(page.locator("[data-live-state]")).to_have_text("Paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    seen = page.locator(".as-of").inner_text()
    page.wait_for_timeout(3000)
    assert (asked, page.locator(".as-of").inner_text()) == ([], seen)

    with page.expect_response(re.compile(r"/workers\?refresh=2")):
        page.get_by_role("button", name="Go on").click()
    expect(page.locator(".as-of")).not_to_have_text(seen)


@pytest.mark.parametrize("busy_by", ["pause", "typing"])
def test_what_was_asked_for_before_a_reader_was_busy_does_not_change_the_page_afterwards(
    desk: Desk, scene: Scene, busy_by: str
) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/attempts?refresh=2")
    refreshes = re.compile(r"/attempts\?refresh=2")
    held: list[Route] = []
    with page.expect_request(refreshes):
        page.route(refreshes, lambda route: held.append(route))  # noqa: PLW0108 Playwright writes on what it is given
    seen = page.locator(".as-of").inner_text()

    if busy_by == "pause":
        page.keyboard.press("p")
        expect(page.locator("[data-live-state]")).to_have_text("Paused")
    else:
        page.keyboard.press("/")
        page.keyboard.type("bil")
    page.evaluate(ARRIVAL)
    held[0].fulfill(response=held[0].fetch(url=f"{scene.url}/attempts"))
    page.evaluate("window.arrival")
    assert page.locator(".as-of").inner_text() == seen


def test_rows_are_walked_and_opened_by_keys(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/attempts")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tbody tr[data-row]").nth(1)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/attempts/\d+/\d+"))

    page.goto(f"{scene.url}/attempts")
    page.keyboard.press("/")
    page.keyboard.type("billing")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=billing"))
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_the_choice_of_colours_is_kept(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    page.goto(f"{scene.url}/about")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("Colours").select_option("dark")
    page.goto(f"{scene.url}/attempts")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    expect(page.get_by_label("Colours")).to_have_value("dark")


def test_what_is_hostile_in_events_is_shown_as_text(desk: Desk, scene: Scene) -> None:
    page = desk.reader()
    spoken: list[str] = []
    page.on("dialog", lambda dialog: (spoken.append(dialog.message), dialog.dismiss()))
    scene.send("CRM", 7)
    page.goto(f"{scene.url}/events?q=script&cols=event_name,campaign")

    expect(page.locator("#events tbody")).to_contain_text("<script>alert(1)</script>")
    assert (page.locator("main script").count(), spoken) == (0, [])
