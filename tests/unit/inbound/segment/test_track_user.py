import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import Refusal
from pipeline.inbound.segment.reasons import Reason
from pipeline.inbound.segment.track_user import read_track_user
from pipeline.inbound.segment.tracked_user import TrackedUser

FULL: dict[str, Any] = {
    "attributes": {"plan": "family", "kids": ["Ada", "Bo"], "since": 2019, "phone": "+49 30 901820"},
    "user_id": "jana-17",
    "email": "jana@mail.example",
    "app_version": "4.2.0",
    "device_id": "5C0E8AD1",
    "device_model": "Pixel 9",
    "device_platform": "ANDROID",
    "device_token": "fcm-token",
    "language": "de-DE",
    "country": "Germany",
    "city": "Berlin",
    "current_location": {"latitude": 52.52, "longitude": 13.405},
    "device_os_version": "16",
    "timezone": "europe/berlin",
    "user_agent": "Bikes/4.2 (Android 16)",
}


def read(fields: Any, **options: Any) -> TrackedUser | Refusal | None:
    return read_track_user(json.dumps(fields).encode(), **options)


def taken(fields: Any, **options: Any) -> TrackedUser:
    user = read(fields, **options)
    assert isinstance(user, TrackedUser)
    return user


def test_a_profile_is_taken_with_all_that_it_says() -> None:
    assert taken(FULL) == TrackedUser(
        user_id="jana-17",
        device_id="5C0E8AD1",
        email="jana@mail.example",
        phone="+49 30 901820",
        attributes=FULL["attributes"],
        platform="Android",
        model="Pixel 9",
        os_version="16",
        app_version="4.2.0",
        token="fcm-token",
        language="de",
        country="Germany",
        city="Berlin",
        location=(52.52, 13.405),
        timezone="Europe/Berlin",
        user_agent="Bikes/4.2 (Android 16)",
    )


def test_the_smallest_profile_has_a_user_and_nothing_else() -> None:
    assert taken({"attributes": {}, "user_id": "u"}) == TrackedUser(user_id="u")


@pytest.mark.parametrize(("name", "by"), [("user_id", "user_id"), ("device_id", "hwid"), ("email", "email")])
def test_any_identifier_is_enough(name: str, by: str) -> None:
    user = taken({"attributes": {"plan": "day"}, name: "a@b.example"})
    assert getattr(user, name) == "a@b.example"
    assert user.identifier == (by, "a@b.example")


@pytest.mark.parametrize(
    "fields", [{}, {"attributes": {"plan": "day"}}, {"user_id": "", "device_id": None, "email": " "}]
)
def test_a_profile_of_nobody_is_none(fields: Any) -> None:
    assert read(fields) is None


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_null_and_empty_are_as_good_as_absent(empty: Any) -> None:
    empties = {name: empty for name in FULL if name not in ("attributes", "current_location")}
    fields = empties | {"attributes": None, "current_location": None, "user_id": "u"}
    assert taken(fields) == TrackedUser(user_id="u")


@pytest.mark.parametrize(
    ("locale", "language"),
    [("en-US", "en"), ("en", "en"), ("EN_gb", "en"), ("zh-Hant-TW", "zh"), ("fil-PH", "fil"), ("de_DE.UTF-8", "de")],
)
def test_a_locale_becomes_its_language(locale: str, language: str) -> None:
    assert taken({"user_id": "u", "language": locale}).language == language


@pytest.mark.parametrize(("spelled", "platform"), [("iOS", "iOS"), ("ios", "iOS"), ("MACOS", "macOS"), ("web", "Web")])
def test_a_platform_may_be_written_in_any_case(spelled: str, platform: str) -> None:
    assert taken({"user_id": "u", "device_platform": spelled}).platform == platform


@pytest.mark.parametrize("location", [{}, {"latitude": None, "longitude": None}, {"elsewhere": 1}])
def test_a_location_that_says_nothing_is_none(location: Any) -> None:
    user = taken({"user_id": "u", "current_location": location})
    assert (user.location, user.ignored) == (None, {})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("language", "CbYLWanPxPu8BsjtevH)", Reason.VALUE_WRONG),
        ("timezone", "Mars/Olympus", Reason.VALUE_WRONG),
        ("device_platform", "toaster", Reason.VALUE_WRONG),
        ("email", "no address", Reason.VALUE_WRONG),
        ("email", "a\0@b.example", Reason.VALUE_WRONG),
        ("device_id", "d" * 513, Reason.VALUE_WRONG),
        ("city", "c" * 1025, Reason.VALUE_WRONG),
        ("current_location", {"latitude": 81416201091153.92, "longitude": 3}, Reason.VALUE_WRONG),
        ("current_location", {"latitude": 90.1, "longitude": 3}, Reason.VALUE_WRONG),
        ("current_location", {"latitude": 3, "longitude": -180.1}, Reason.VALUE_WRONG),
        ("current_location", {"latitude": 52.5}, Reason.VALUE_WRONG),
        ("current_location", [52.5, 13.4], Reason.TYPE_WRONG),
        ("current_location", {"latitude": "52.5", "longitude": 13.4}, Reason.TYPE_WRONG),
        ("app_version", 4.2, Reason.TYPE_WRONG),
        ("attributes", ["plan"], Reason.TYPE_WRONG),
    ],
)
def test_a_value_that_cannot_be_used_costs_only_itself(name: str, value: Any, reason: Reason) -> None:
    user = taken({"user_id": "u", name: value})
    assert (user.user_id, user.ignored, user.disregarded) == ("u", {name: reason}, {reason.value: 1})
    assert user.detail == f"not used: {name}"


def test_a_wrong_user_id_leaves_a_profile_to_its_device() -> None:
    user = taken({"user_id": 17, "device_id": "d"})
    assert (user.user_id, user.device_id) == ("", "d")


def test_attributes_hold_any_json() -> None:
    attributes = {"a": None, "b": [1, [2.5, {"c": True}]], "d": {}, "e": "", "f": 12345678901234567890123}
    assert taken({"user_id": "u", "attributes": attributes}).attributes == attributes


@pytest.mark.parametrize("phone", [None, "", 4930901820, "call me", ["+4930901820"]])
def test_a_phone_that_is_no_number_stays_an_attribute_alone(phone: Any) -> None:
    user = taken({"user_id": "u", "attributes": {"phone": phone}})
    assert (user.phone, user.attributes) == ("", {"phone": phone})


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", Outcome.MALFORMED_JSON),
        (b"{", Outcome.MALFORMED_JSON),
        (b"[]", Outcome.UNDECODABLE),
        (b"null", Outcome.UNDECODABLE),
        (b'{"attributes":' + b'{"a":' * 40 + b"1" + b"}" * 41, Outcome.TOO_DEEP),
    ],
)
def test_what_is_no_profile_is_refused(body: bytes, outcome: Outcome) -> None:
    refusal = read_track_user(body)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.answer.status) == (outcome, 400)
    assert json.loads(refusal.answer.body) == {
        "action": "track user", "status": "failure", "error": {"message": refusal.detail}
    }  # fmt: skip


def test_strict_refuses_a_wrong_type() -> None:
    refusal = read({"user_id": "u", "language": 5}, is_strict=True)
    assert isinstance(refusal, Refusal)
    assert refusal.detail == "language must be a text, and is a number"


def test_strict_takes_a_value_without_meaning() -> None:
    assert taken({"user_id": "u", "language": "?", "timezone": "?"}, is_strict=True).user_id == "u"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
wild = st.fixed_dictionaries({}, optional={name: json_values | st.just(value) for name, value in FULL.items()})


@given(
    body=st.binary(max_size=60) | json_values.map(msgspec.json.encode) | wild.map(msgspec.json.encode),
    is_strict=st.booleans(),
)
def test_any_body_is_taken_or_refused_as_documented(body: bytes, is_strict: bool) -> None:  # noqa: FBT001
    user = read_track_user(body, is_strict=is_strict)
    if isinstance(user, Refusal):
        assert user.answer.status == 400
    elif user is not None:
        assert user.user_id or user.device_id or user.email
