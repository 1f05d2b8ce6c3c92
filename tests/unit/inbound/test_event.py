import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.event import LARGEST_EVENT_BYTES, EventTooLargeError, fire, make_event, platform_of
from pipeline.inbound.mapping import compile_webhook
from pipeline.ingest.decode import EventDecoder
from pipeline.ingest.event import LATEST_TIMESTAMP_S
from pipeline.model.platforms import PLATFORMS
from tests.support.inbound_webhook import webhook

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=15,
)
ids = st.none() | st.text()


def fired(by: str, identifier: str, **known: Any) -> dict[str, Any]:
    compiled = compile_webhook(webhook(identify={"by": by, "field": "id"}))
    _, encoded = fire(
        compiled, {"id": identifier, "price": 5}, "seed", identifier=identifier, timestamp_s=1000, **known
    )
    event: dict[str, Any] = json.loads(encoded)
    return {key: event[key] for key in ("user_id", "hwid", "email", "platform") if key in event}


contents = st.fixed_dictionaries(
    {
        "name": st.text(min_size=1),
        "application": st.text(min_size=1),
        "platform": st.sampled_from(sorted(PLATFORMS)),
        "timestamp_s": st.integers(0, LATEST_TIMESTAMP_S),
        "user_id": ids,
        "hwid": ids,
        "email": ids,
        "attributes": st.dictionaries(st.text(), json_values, max_size=5),
    }
).filter(lambda content: content["user_id"] or content["hwid"])


@given(st.text(), contents)
def test_every_made_event_is_one_that_the_pipeline_takes(seed: str, content: dict[str, Any]) -> None:
    uuid, encoded = make_event(seed, **content)

    event, _ = EventDecoder("inbound", 0).decode(encoded, 0)

    assert (event.uuid, event.timestamp, event.platform) == (uuid, content["timestamp_s"], content["platform"])
    assert (event.event_name, event.application_code) == (content["name"], content["application"])
    for field in ("user_id", "hwid", "email"):
        assert getattr(event, field) == (content[field] or None)
    assert json.loads(encoded)["attributes"] == content["attributes"]


def test_one_seed_gives_one_uuid_and_another_another() -> None:
    def made(seed: str) -> str:
        return make_event(
            seed, name="n", application="a", platform="Web", timestamp_s=0, user_id="u", attributes={"at": seed}
        )[0]

    assert made("a") == made("a") != made("b")


def test_an_event_that_could_not_be_delivered_is_not_made() -> None:
    with pytest.raises(EventTooLargeError, match=f"and at most {LARGEST_EVENT_BYTES} are taken"):
        make_event(
            "seed",
            name="n",
            application="a",
            platform="Web",
            timestamp_s=0,
            user_id="u",
            attributes={"a": "x" * LARGEST_EVENT_BYTES},
        )


@pytest.mark.parametrize(
    ("by", "identifier", "known", "expected"),
    [
        ("user_id", "u", {}, {"user_id": "u", "platform": "Web"}),
        ("user_id", "u", {"device_platform": "iOS"}, {"user_id": "u", "platform": "Web"}),
        (
            "user_id",
            "u",
            {"hwid": "d", "device_platform": "iOS", "email": "a@b"},
            {"user_id": "u", "hwid": "d", "email": "a@b", "platform": "iOS"},
        ),
        ("email", "a@b", {"user_id": "u"}, {"user_id": "u", "hwid": "a@b", "email": "a@b", "platform": "Email"}),
        ("email", "a@b", {}, {"hwid": "a@b", "email": "a@b", "platform": "Email"}),
        (
            "email",
            "a@b",
            {"user_id": "u", "hwid": "d", "device_platform": "Android"},
            {"user_id": "u", "hwid": "d", "email": "a@b", "platform": "Android"},
        ),
        ("phone", "+15550100", {"user_id": "u"}, {"user_id": "u", "hwid": "+15550100", "platform": "SMS"}),
        ("hwid", "d", {}, {"hwid": "d", "platform": "Web"}),
        (
            "hwid",
            "d",
            {"user_id": "u", "device_platform": "Huawei"},
            {"user_id": "u", "hwid": "d", "platform": "Huawei"},
        ),
    ],
)
def test_an_event_belongs_to_whom_the_identifier_found(
    by: str, identifier: str, known: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert fired(by, identifier, **known) == expected


def test_a_webhooks_own_platform_wins() -> None:
    compiled = compile_webhook(webhook(platform="Line"))
    _, encoded = fire(compiled, {}, "s", identifier="a@b", timestamp_s=0, hwid="d", device_platform="iOS")

    assert json.loads(encoded)["platform"] == "Line"


def test_an_event_says_which_webhook_fired_it() -> None:
    _, encoded = fire(compile_webhook(webhook()), {"price": 5}, "s", identifier="a@b", timestamp_s=0)

    assert json.loads(encoded)["attributes"] == {"total": 5, "__webhook": "orders"}


@pytest.mark.parametrize(
    ("by", "device_platform", "platform"),
    [
        ("user_id", None, "Web"),
        ("hwid", None, "Web"),
        ("email", None, "Email"),
        ("phone", None, "SMS"),
        ("email", "iOS", "iOS"),
    ],
)
def test_the_platform_is_the_devices_or_that_of_the_address(
    by: str, device_platform: str | None, platform: str
) -> None:
    assert platform_of(by, device_platform) == platform
