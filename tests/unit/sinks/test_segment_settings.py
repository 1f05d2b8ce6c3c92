from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.sinks.segment import RESERVED_EVENTS, SegmentIntegration


def settings(**given: Any) -> SegmentIntegration:
    return SegmentIntegration.model_validate({"id": "seg", "kind": "segment", "write_key": "wr1te-k3y"} | given)


def test_a_write_key_is_enough() -> None:
    made = settings()
    assert (made.url, made.events, made.platforms, made.fields) == (
        "https://api.segment.io", RESERVED_EVENTS, ("*",), "known",
    )  # fmt: skip
    assert (made.batch.max_events, made.batch.max_age_s, made.batch.max_bytes) == (100, 3600.0, 256 * 1024)


def test_the_reserved_events_are_seven() -> None:
    assert len(set(RESERVED_EVENTS)) == 7


@pytest.mark.parametrize(
    ("region", "url"),
    [(None, "https://api.segment.io"), ("us", "https://api.segment.io"), ("eu", "https://events.eu1.segmentapis.com")],
)
def test_the_url_follows_from_the_region(region: str | None, url: str) -> None:
    assert settings(region=region).base_url == url


@pytest.mark.parametrize("region", [None, "us", "eu"])
def test_settings_can_be_read_again_from_what_they_give(region: str | None) -> None:
    made = settings(region=region)
    assert SegmentIntegration.model_validate(made.model_dump()) == made


def test_an_own_url_may_have_a_path_and_a_slash_behind_it() -> None:
    assert settings(url="https://proxy.example/segment/").base_url == "https://proxy.example/segment"


@pytest.mark.parametrize("events", [[], "", " ", ",", "*", ["*"], ()])
def test_an_empty_list_of_events_is_all(events: Any) -> None:
    assert settings(events=events).events == ("*",)


def test_events_may_be_listed_with_commas() -> None:
    assert settings(events="Email Sent, Push Sent").events == ("Email Sent", "Push Sent")


def test_part_of_the_batch_limits_keeps_the_rest() -> None:
    made = settings(batch={"max_events": 2500})
    assert (made.batch.max_events, made.batch.max_bytes) == (2500, 256 * 1024)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"write_key": ""}, "is empty"),
        ({"write_key": "a b"}, "holds a space"),
        ({"write_key": "a:b"}, "a colon"),
        ({"write_key": "a\r\nX: y"}, "holds a space"),
        ({"write_key": "schlüssel"}, "not printable ASCII"),
        ({"region": "asia"}, "'us' or 'eu'"),
        ({"region": "eu", "url": "https://proxy.example"}, "both say where requests go"),
        ({"url": "https://proxy.example/?key=1"}, "holds a query"),
        ({"url": "https://proxy.example/v1/"}, "ends in what is added to it"),
        ({"url": "https://proxy.example/x/v1/batch"}, "ends in what is added to it"),
        ({"url": "ftp://proxy.example"}, "must begin with https"),
        ({"authorization": "Bearer s3cret"}, "authorized by write_key"),
        ({"batch": {"max_events": 2501}}, "2500"),
        ({"batch": {"max_bytes": 1 << 20}}, "too large"),
        ({"fields": "all"}, "'known'"),
    ],
)
def test_wrong_settings_are_refused_in_words(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        settings(**given)
    assert "s3cret" not in str(caught.value)


def test_the_write_key_is_not_shown() -> None:
    made = settings()
    assert all("wr1te" not in text for text in (repr(made), str(made), made.model_dump_json()))
