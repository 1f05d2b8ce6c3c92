import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.inbound.settings import (
    InboundRate,
    InboundSettings,
    SegmentDestinationSettings,
    UsersSettings,
    WebhookSettings,
)
from tests.support.inbound_webhook import PREVIOUS_SECRET, SECRET, webhook


def mistakes_of(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        webhook(**changes)
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:6070/webhooks/orders"),
        ({"host": "::1", "port": 80}, "http://[::1]:80/webhooks/orders"),
        ({"host": "hooks.example", "tls": {"cert": "a.pem"}}, "https://hooks.example:6070/webhooks/orders"),
        ({"public_url": "https://hooks.example/"}, "https://hooks.example/webhooks/orders"),
        ({"public_url": "https://hooks.example/in"}, "https://hooks.example/in/webhooks/orders"),
    ],
)
def test_a_webhooks_url_is_the_one_that_callers_reach(settings: dict[str, Any], url: str) -> None:
    assert InboundSettings.model_validate(settings).url_of("orders") == url


@pytest.mark.parametrize(("rate", "burst"), [({"per_second": 100, "burst": 200}, 200), ({"per_second": 0.1}, 1)])
def test_a_burst_is_what_was_given_or_a_seconds_worth(rate: dict[str, Any], burst: int) -> None:
    assert InboundRate.model_validate(rate).burst_or_default == burst


def test_a_path_is_kept_in_its_canonical_spelling() -> None:
    made = webhook(identify={"by": "email", "field": ' ["user"]["e-mail"] '}, attributes={"a": '["b"].c'})

    assert (made.identify.field, dict(made.attributes)) == ("user.e-mail", {"a": "b.c"})


def test_every_wrong_attribute_is_named() -> None:
    found = mistakes_of(attributes={"a": "b..c", "__b": "c", "": "d", "ok": "e"})

    assert sorted(found) == ["attributes.", "attributes.__b", "attributes.a"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [({"previous_secret": PREVIOUS_SECRET}, "previous_until"), ({"previous_until": 5.0}, "previous_secret")],
)
def test_a_previous_secret_and_its_end_go_together(changes: dict[str, Any], missing: str) -> None:
    assert "is missing; previous_secret and previous_until go together" in mistakes_of(**changes)[missing]


def test_a_platform_may_be_given_by_its_number() -> None:
    assert webhook(platform=18).platform == "SMS"


@pytest.mark.parametrize("sample", ["", "  \n"])
def test_an_empty_sample_is_none(sample: str) -> None:
    assert webhook(sample=sample).sample == ""


def test_a_sample_is_kept_as_it_was_pasted() -> None:
    assert webhook(sample='{ "a":\n1 }').sample == '{ "a":\n1 }'


def test_a_sample_too_large_is_refused() -> None:
    assert "is larger than 64KiB" in mistakes_of(sample=json.dumps({"a": "x" * 70_000}))["sample"]


def test_no_secret_is_shown() -> None:
    made = webhook(previous_secret=PREVIOUS_SECRET, previous_until="2099-01-31T12:00Z")

    for text in (repr(made), str(made), made.model_dump_json()):
        assert SECRET not in text
        assert PREVIOUS_SECRET not in text


def test_settings_are_written_as_the_file_has_them_and_read_back() -> None:
    made = webhook(previous_secret=PREVIOUS_SECRET, previous_until="2099-01-31T12:00Z", platform="Web")
    written = made.model_dump(mode="json", by_alias=True)

    assert written["previous_until"] == "2099-01-31T12:00:00Z"
    assert WebhookSettings.model_validate(written | {"secret": SECRET, "previous_secret": PREVIOUS_SECRET}) == made


def test_one_key_of_segment_is_as_good_as_a_list_of_one() -> None:
    one = SegmentDestinationSettings.model_validate({"applications": {"32E5A-9B411": "a" * 20}})
    listed = SegmentDestinationSettings.model_validate({"applications": {"32E5A-9B411": ["a" * 20]}})

    assert one == listed


def test_a_wrong_application_code_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        SegmentDestinationSettings.model_validate({"applications": {"a b": "a" * 20, "B": []}})

    assert {each["loc"] for each in caught.value.errors()} == {("applications", "a b"), ("applications", "B")}


def test_tags_may_be_one_text_with_commas() -> None:
    assert UsersSettings.model_validate({"tags": "Age, City"}).tags == ("Age", "City")
