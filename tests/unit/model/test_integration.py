from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.model.integration import BatchLimits, Integration, Retry


def integration(**changes: Any) -> Integration:
    given = {"id": "crm", "kind": "http", "url": "https://crm.example/events", "events": ["*"], "platforms": ["*"]}
    return Integration.model_validate(given | changes)


def test_the_contracts_numbers_are_the_defaults() -> None:
    crm = integration()

    assert crm.batch == BatchLimits(max_events=100, max_age_s=3600.0, max_bytes=1 << 20)
    assert crm.retry == Retry(delays_s=(1.0, 3.0, 8.0), on_exhausted="park")
    assert (crm.timeout_s, crm.max_wait_s, crm.max_in_flight) == (30.0, 3 * 86400.0, 4)
    assert crm.enabled
    assert not crm.ordered


def test_keys_of_the_file_and_names_of_the_code_mean_the_same() -> None:
    written = integration(timeout="2s", batch={"max_age": "1m"}, retry={"delays": ["1s"]}, max_wait="1h")

    assert written == integration(timeout_s=2.0, batch={"max_age_s": 60}, retry={"delays_s": [1]}, max_wait_s=3600)


def test_an_ordered_lane_has_one_batch_under_way() -> None:
    assert integration(ordered=True, max_in_flight=9).in_flight_cap == 1
    assert integration(max_in_flight=9).in_flight_cap == 9


@pytest.mark.parametrize("bad", ["", "CRM", "a.b", "a b", "a~1", "a" * 65, "ü", "crm\n"])
def test_an_id_fits_into_batch_ids_and_metrics(bad: str) -> None:
    with pytest.raises(ValidationError, match="1 to 64 of the characters a-z, 0-9 and -"):
        integration(id=bad)


def test_names_may_be_a_list_or_one_text_with_commas() -> None:
    assert integration(events="Email Sent, Push Sent,").events == ("Email Sent", "Push Sent")
    assert integration(events=["Email Sent", "A, B"]).events == ("Email Sent", "A, B")
    assert integration(campaigns="A-1,B-2").campaigns == ("A-1", "B-2")
    assert integration(campaigns=[17]).campaigns == ("17",)


def test_a_star_among_names_stands_for_all() -> None:
    assert integration(events=["Email Sent", "*"]).events == ("*",)
    assert integration(platforms="*").platforms == ("*",)


def test_the_same_name_twice_counts_once() -> None:
    assert integration(events=["A", "B", "A"]).events == ("A", "B")
    assert integration(platforms=["iOS", 1, "1"]).platforms == ("iOS",)


def test_platforms_are_names_or_numbers() -> None:
    assert integration(platforms=["Email", 1, "18"]).platforms == ("Email", "iOS", "SMS")
    assert integration(platforms=3).platforms == ("Android",)
    assert integration(platforms="Email, 1").platforms == ("Email", "iOS")


@pytest.mark.parametrize("key", ["events", "platforms"])
@pytest.mark.parametrize("empty", [[], "", " , "])
def test_events_and_platforms_need_at_least_one(key: str, empty: object) -> None:
    with pytest.raises(ValidationError, match="needs at least one"):
        integration(**{key: empty})


@pytest.mark.parametrize("key", ["applications", "campaigns", "messages"])
def test_a_star_where_empty_means_any_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="leave the list empty for any"):
        integration(**{key: ["*"]})


@pytest.mark.parametrize("value", [[None], [True], [["a"]], {"a": 1}, ["a\nb"], [""], ["x" * 600]])
def test_names_are_text(value: object) -> None:
    with pytest.raises(ValidationError):
        integration(events=value)


@pytest.mark.parametrize(
    "url", ["https://a.example", "http://a.example:8081/p?q=1", "https://[2001:db8::1]:99/", "HTTPS://A.example/ü"]
)
def test_a_url_has_a_scheme_and_a_host(url: str) -> None:
    assert integration(url=url).url == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must begin with https:// or http://"),
        ("a.example/x", "must begin with"),
        ("ftp://a.example", "must begin with"),
        ("https://", "needs a host"),
        ("https:///x", "needs a host"),
        ("https://./x", "needs a host"),
        ("https://a.example:0/", "needs a host"),
        ("https://a.example:99999/", "is not a valid URL"),
        ("https://[::1/", "is not a valid URL"),
        ("https://xn--a/", "is not a valid URL"),
        ("https://a.example/a b", "space or a control character"),
        ("https://a.example/\r\nX: y", "space or a control character"),
        ("https://ana:hunter2@a.example/", "holds credentials"),
        ("https://a.example/#hunter2", "holds a fragment"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused_without_being_shown(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        integration(url=url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["", " ", "Bearer x\n", " Bearer x", "Bearer\r\nX: y", "Bearer \0", "Bearer \u20ac", "a\tb"]
)
def test_an_authorization_that_a_header_cannot_carry_is_refused_without_being_shown(value: str) -> None:
    secret = value.replace("x", "hunter2")
    with pytest.raises(ValidationError) as caught:
        integration(authorization=secret)

    assert "hunter2" not in repr(caught.value)


def test_an_authorization_is_kept_as_it_is_and_never_shown() -> None:
    crm = integration(authorization="Basic aHVudGVyMg==")

    assert crm.authorization == SecretStr("Basic aHVudGVyMg==")
    assert "aHVudGVyMg" not in repr(crm) + str(crm) + crm.model_dump_json()


@pytest.mark.parametrize(
    "change",
    [
        {"batch": {"max_events": 0}},
        {"batch": {"max_events": 100_001}},
        {"batch": {"max_events": True}},
        {"batch": {"max_bytes": "1023B"}},
        {"batch": {"max_bytes": "9MiB"}},
        {"batch": {"max_age": "0s"}},
        {"timeout": "0s"},
        {"retry": {"delays": ["2d"]}},
        {"retry": {"delays": ["1ms"] * 101}},
        {"retry": {"on_exhausted": "forget"}},
        {"max_in_flight": 0},
        {"max_wait": "7d"},
        {"fields": "some"},
        {"urll": "x"},
    ],
)
def test_limits_have_bounds_and_keys_are_known(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        integration(**change)


def test_no_delays_mean_one_try() -> None:
    assert integration(retry={"delays": []}).retry.delays_s == ()


def test_a_key_with_nothing_behind_it_is_absent() -> None:
    assert integration(campaigns=None, batch=None) == integration()
    with pytest.raises(ValidationError, match="Field required"):
        integration(events=None)


def test_an_integration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        integration().enabled = False  # type: ignore[misc]


@pytest.mark.parametrize("breaker", [{"pause": "10m", "max_pause": "1s"}, {"pause": "1h"}])
def test_a_breakers_first_pause_is_no_longer_than_its_longest(breaker: dict[str, str]) -> None:
    with pytest.raises(
        ValidationError, match=r"is longer than max_pause \((1|600)s\); raise max_pause or shorten pause"
    ):
        integration(breaker=breaker)


def test_a_breakers_pause_may_be_its_longest() -> None:
    assert integration(breaker={"pause": "1h", "max_pause": "1h"}).breaker.pause_s == 3600.0
