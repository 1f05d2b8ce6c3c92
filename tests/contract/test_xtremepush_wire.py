"""The Xtremepush-style sink's requests, byte for byte, and what its words are made of."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from pydantic import ValidationError

from pipeline.ingest.match import MatchIndex
from pipeline.model.attempt import Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.receiver.http_server import Request
from pipeline.receiver.read_xtremepush import read_xtremepush
from pipeline.sinks.xtremepush import SPEC, XtremepushIntegration
from pipeline.sinks.xtremepush_mapping import CHANNEL_OF_PLATFORM, EVENT_OF_NAME, Translation
from tests.contract.test_every_sink import NOW_S, batch_of, event, settings_of, sink_to
from tests.support.endpoint import in_turn, reply, serving
from tests.support.events import decoded, events

WHOLE = {
    "event_name": "Push Failed",
    "platform": "iOS",
    "campaign_id": 961_048,
    "profile_id": 17,
    "device_id": "d-1",
    "trigger_id": "t-1",
    "error_message": "DEVICE_UNREGISTERED",
    "email": "ana@mail.example",
    "campaign_code": "S-1",
    "message_id": 5,
    "payload": "p",
    "journey_title": "j",
    "uuid": "u",
}
DOCUMENTED = (
    "message_type", "campaign_id", "profile_id", "device_id", "trigger_id", "error_message", "user_id", "email",
)  # fmt: skip


def settings(**given: Any) -> XtremepushIntegration:
    return XtremepushIntegration.model_validate(
        {"id": "xp", "kind": "xtremepush", "url": "https://a.example/", "channels": "*"} | given
    )


def batch(*encoded: bytes, lane: str = "xp", first: int = 16) -> Batch:
    run = EventRun.of(encoded)
    return Batch(lane, first, first + len(encoded), SealReason.AGE, NOW_S, NOW_S, run.packed_ends(), run.block)


def body_of(encoded: bytes, **tables: Any) -> Any:
    """What an integration with ``tables`` sends for an event."""
    translation = Translation(tables.get("channel_map", {}), tables.get("event_map", {}))
    return json.loads(msgspec.json.encode(translation.translate(decoded(encoded))))


async def test_the_wire_format_is_this() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url("/hook"), authorization=None) as sink:
        outcome = await sink.send(batch(event(**WHOLE)), now_s=NOW_S)
        assert outcome.verdict is Verdict.DELIVERED
        port, wire = endpoint.port, endpoint.seen[0].wire
    body = (
        b'{"event":"message_failure","time":1700000000,"properties":{"message_type":"mobile_push","campaign_id":961048,'
        b'"profile_id":17,"device_id":"d-1","trigger_id":"t-1","error_message":"DEVICE_UNREGISTERED",'
        b'"user_id":"1894410","email":"ana@mail.example"}}'
    )
    assert wire == (
        b"POST /hook HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(port).encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"User-Agent: Distributary/test\r\n"
        b"webhook-id: xp:16-17\r\n"
        b"webhook-timestamp: 1700000000\r\n"
        b"distributary-sequence: xp 16-17\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n"
        b"\r\n" + body
    )


def test_what_an_event_does_not_have_is_left_out() -> None:
    bare = b'{"event_name":"SMS Sent","platform":"SMS","application_code":"A","timestamp":1,"hwid":"+491"}'
    assert body_of(bare) == {"event": "message_send", "time": 1, "properties": {"message_type": "sms"}}


@pytest.mark.parametrize(
    ("platform", "channel", "has_device"),
    [
        ("iOS", "mobile_push", True),
        ("Huawei", "mobile_push", True),
        ("Chrome", "web_push", True),
        ("Email", "email", False),
        ("SMS", "sms", False),
        ("WhatsApp", "whatsapp", False),
        ("Line", "line", False),
    ],
)
def test_only_channels_of_devices_name_a_device(platform: str, channel: str, *, has_device: bool) -> None:
    properties = body_of(event(**WHOLE | {"platform": platform}))["properties"]
    assert properties["message_type"] == channel
    assert ("device_id" in properties) == has_device


@pytest.mark.parametrize(
    ("platform", "channel", "has_device"),
    [
        ("iOS", "app_push", True),
        ("iOS", "In-App", True),
        ("iOS", "email", False),
        ("Email", "newsletter", False),
        ("Email", "in_app", True),
    ],
)
def test_a_channel_of_ones_own_is_still_what_its_platform_is(platform: str, channel: str, *, has_device: bool) -> None:
    properties = body_of(event(**WHOLE | {"platform": platform}), channel_map={platform: channel})["properties"]
    assert properties["message_type"] == channel
    assert ("device_id" in properties) == has_device


def test_the_hwid_stands_in_for_a_device_id_that_is_not_there() -> None:
    assert body_of(event(event_name="Push Sent", platform="iOS", hwid="h"))["properties"]["device_id"] == "h"


def test_an_emails_hwid_is_its_address() -> None:
    assert body_of(event(event_name="Email Sent"))["properties"]["email"] == "ana@mail.example"
    assert "email" not in body_of(event(event_name="Push Sent", platform="iOS"))["properties"]


@pytest.mark.parametrize("name", sorted(EVENT_OF_NAME))
def test_only_failures_carry_an_error_message(name: str) -> None:
    body = body_of(event(**WHOLE | {"event_name": name}))
    assert ("error_message" in body["properties"]) == (body["event"] in {"message_failure", "message_bounce"})


@pytest.mark.parametrize(
    ("name", "outward", "has_error"),
    [
        ("Push Failed", "push_error", True),
        ("Push Sent", "push_out", False),
        ("Push Sent", "message_failure", True),
        ("Email Bounced", "message_send", False),
        ("Push Expired", "message_failure", True),
        ("Push Expired", "push_expired", True),
        ("Push Shown", "message_open", False),
    ],
)
def test_an_event_with_a_name_of_ones_own_is_still_a_failure_or_not(
    name: str, outward: str, *, has_error: bool
) -> None:
    body = body_of(event(**WHOLE | {"event_name": name}), event_map={name: outward})
    assert body["event"] == outward
    assert ("error_message" in body["properties"]) == has_error


@given(events(*EVENT_OF_NAME))
def test_any_event_becomes_the_documented_properties_in_their_order(encoded: bytes) -> None:
    body, had = body_of(encoded), decoded(encoded)
    assert [*body] == ["event", "time", "properties"]
    assert (body["event"], body["time"]) == (EVENT_OF_NAME[had.event_name], had.timestamp)
    properties = body["properties"]
    assert [*properties] == [name for name in DOCUMENTED if name in properties]
    assert properties["message_type"] == CHANNEL_OF_PLATFORM[str(had.platform)]
    assert None not in properties.values()
    for name in ("campaign_id", "profile_id", "trigger_id", "user_id"):
        value = getattr(had, name)
        assert properties.get(name) == (None if value == "" else value)


@given(events(*EVENT_OF_NAME))
def test_the_reader_takes_what_the_sink_makes_of_any_event(encoded: bytes) -> None:
    body = msgspec.json.encode(Translation({}, {}).translate(decoded(encoded)))
    headers = {
        "webhook-id": "xp:7-8",
        "webhook-timestamp": "1700000000",
        "distributary-sequence": "xp 7-8",
        "content-type": "application/json",
    }
    delivery = read_xtremepush(Request("POST", "/", headers, body, len(body)), now_s=NOW_S)
    assert (delivery.lane, delivery.first, delivery.end, delivery.uuids) == ("xp", 7, 8, [None])


@given(events())
def test_the_sink_sends_every_event_that_is_matched(encoded: bytes) -> None:
    own = settings(channels=["Email", "Push"], event_map={"0": "zero"})
    had = decoded(encoded)
    if MatchIndex([(own, "xp")]).match(had):
        Translation(own.channel_map, own.event_map).translate(had)


async def test_an_event_that_no_table_names_is_given_up_alone_and_never_sent() -> None:
    unnamed = event(event_name="Push Shown")
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url(), ordered=True) as sink:
        outcome = await sink.send(batch(event(), unnamed, b"{}", event()), now_s=NOW_S)
        assert len(endpoint.seen) == 2
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((16, 17), (19, 20)))
    assert [refusal.first for refusal in outcome.refused] == [17, 18]
    assert "the event Push Shown has no name there; give it one in event_map" in outcome.refused[0].detail


async def test_each_event_is_a_request() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url(), ordered=True) as sink:
        outcome = await sink.send(batch_of(5), now_s=NOW_S)
        ids = [seen.headers["webhook-id"] for seen in endpoint.seen]
    assert outcome.verdict is Verdict.DELIVERED
    assert ids == [f"crm:{number}-{number + 1}" for number in range(5)]


async def test_refused_credentials_end_the_try() -> None:
    async with serving(in_turn(reply(200), reply(401))) as endpoint:
        async with sink_to(SPEC, endpoint.url(), ordered=True) as sink:
            outcome = await sink.send(batch_of(50), now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.REFUSED, 401, ((0, 1),))
        assert len(endpoint.seen) == 3, "the first may be about its own event"


@pytest.mark.parametrize(
    ("channels", "platforms"),
    [
        (["Email"], ("Email",)),
        ("email, SMS", ("Email", "SMS")),
        (["Web Push"], ("Safari", "Chrome", "Firefox", "Internet Explorer", "Web")),
        (["Push"], tuple(name for name, channel in CHANNEL_OF_PLATFORM.items() if channel.endswith("push"))),
        ("*", tuple(CHANNEL_OF_PLATFORM)),
    ],
)
def test_the_platforms_are_those_of_the_channels(channels: Any, platforms: tuple[str, ...]) -> None:
    assert settings(channels=channels).platforms == platforms


def test_a_channel_map_moves_platforms() -> None:
    moved = settings(channels=["in_app", "push"], channel_map={"1": "In-App", "Android": "push"})
    assert moved.platforms == ("iOS", "Android")
    assert moved.channel_map == {"iOS": "In-App", "Android": "push"}


def test_platforms_narrow_the_channels_down() -> None:
    assert settings(channels=["Push"], platforms=["iOS", "Chrome"]).platforms == ("iOS", "Chrome")


@pytest.mark.parametrize(
    ("events", "names"),
    [
        (["Push Sent"], ("Push Sent",)),
        (["message_open"], ("Push Opened", "Email Opened", "WhatsApp Read")),
        (["message_click", "Email Clicked"], ("Email Clicked", "Email Link Clicked")),
        ("*", (*EVENT_OF_NAME, "Push Shown")),
        (["Push Shown", "message_display"], ("Push Shown",)),
    ],
)
def test_events_go_by_our_names_or_by_theirs(events: Any, names: tuple[str, ...]) -> None:
    assert settings(events=events, event_map={"Push Shown": "message_display"}).events == names


@pytest.mark.parametrize(
    ("name", "platform", "is_matched"),
    [
        ("Push Sent", "iOS", True),
        ("Push Sent", "Email", True),
        ("Push Sent", "SMS", False),
        ("Push Shown", "iOS", False),
    ],
)
def test_only_events_of_the_channels_that_have_a_name_are_matched(
    name: str, platform: str, *, is_matched: bool
) -> None:
    index = MatchIndex([(settings(channels=["Email", "Push"]), "xp")])
    assert bool(index.match(decoded(event(event_name=name, platform=platform)))) == is_matched


@pytest.mark.parametrize(
    "given",
    [
        {"channels": ["Email", "Push"], "events": ["message_send", "Email Opened"]},
        {"channels": "*", "channel_map": {"iOS": "app"}, "event_map": {"Push Shown": "shown"}},
        {"channels": ["push"], "platforms": ["iOS"], "auth": {"type": "signed", "secret": "abcdefgh"}},
    ],
)
def test_settings_that_were_read_can_be_read_again(given: dict[str, Any]) -> None:
    own = settings(**given)
    assert XtremepushIntegration.model_validate(own.model_dump()) == own
    assert XtremepushIntegration.model_validate(own.model_dump(exclude_unset=True)) == own


@pytest.mark.parametrize(
    ("given", "place", "message"),
    [
        ({"channels": []}, ("channels",), "needs at least one"),
        ({"channels": ["Mail"]}, ("channels", 0), "is no platform's channel; channels: mobile_push, web_push, email, "),
        ({"channels": ["Email", "in_app"]}, ("channels", 1), "Others need an entry in channel_map"),
        ({"events": ["Push Sent", "Push Snet"]}, ("events", 1), "without a name there; did you mean Push Sent?"),
        ({"events": ["Push Shown"]}, ("events", 0), "Give it one in event_map"),
        (
            {"channels": ["Email"], "platforms": ["iOS"]},
            ("platforms", 0),
            "is not of the channels; their platforms: Email",
        ),
        ({"channel_map": {"iSO": "a"}}, ("channel_map",), "'iSO' is not a platform; did you mean iOS?"),
        ({"channel_map": {"iOS": "a", "1": "b"}}, ("channel_map",), "names iOS twice"),
        ({"channel_map": {"iOS": " "}}, ("channel_map", "iOS"), "must be 1 to 512 printable characters"),
        ({"event_map": {"Push Shown": "*"}}, ("event_map", "Push Shown"), 'and not "*"'),
        ({"fields": "all"}, ("fields",), "Input should be 'known'"),
    ],
)
def test_wrong_settings_are_refused_where_they_stand(
    given: dict[str, Any], place: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    (found,) = caught.value.errors()
    assert found["loc"] == place
    assert message in found["msg"]


def test_the_settings_let_nothing_wait() -> None:
    own = settings_of(SPEC, "https://a.example/")
    assert (own.batch.max_age_s, own.batch.max_events, own.fields, own.auth.type) == (0.0, 100, "known", "none")
