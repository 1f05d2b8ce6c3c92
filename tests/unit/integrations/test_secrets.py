import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidChangeError
from pipeline.integrations.secrets import KEEP, masked, masked_url, restored, secret_places
from pipeline.sinks.http import HttpIntegration
from pipeline.sinks.registry import SINKS
from pipeline.sinks.segment import SegmentIntegration
from pipeline.sinks.xtremepush import XtremepushIntegration

OLD, NEW = "whsec_" + "A" * 32, "whsec_" + "B" * 32
SIGNED = {
    "id": "crm",
    "kind": "http",
    "url": "https://crm.example/events?key=hush-url",
    "authorization": "Bearer hush-token",
    "events": ["*"],
    "signing": {"secrets": [OLD, NEW]},
}
TEXTS = st.text(alphabet=st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1, max_size=20)


def test_secrets_are_found_at_any_depth_and_in_every_variant() -> None:
    assert secret_places(HttpIntegration) == {("authorization",), ("signing", "secrets")}
    assert {("auth", "password"), ("auth", "token"), ("auth", "client_secret")} < secret_places(XtremepushIntegration)
    assert ("write_key",) in secret_places(SegmentIntegration)


def test_no_secret_is_left_in_what_is_shown() -> None:
    text = json.dumps(masked(SIGNED, HttpIntegration))

    assert not any(secret in text for secret in ("hush", OLD, NEW))


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    shown = masked(SIGNED, HttpIntegration)

    assert (shown["id"], shown["events"], shown["url"]) == ("crm", ["*"], f"https://crm.example/events?{KEEP}")


def test_secrets_of_a_list_can_be_told_apart() -> None:
    assert masked(SIGNED, HttpIntegration)["signing"] == {"secrets": [f"{KEEP}#1", f"{KEEP}#2"]}


@pytest.mark.parametrize("value", ["hush", ["hush"], {"inner": "hush"}, 7])
def test_what_the_class_does_not_know_is_hidden(value: object) -> None:
    assert "hush" not in json.dumps(masked({"autorization": value}, HttpIntegration))


@pytest.mark.parametrize("value", ["hush", ["hush"], {"inner": "hush"}])
def test_a_secret_of_the_wrong_type_is_hidden_too(value: object) -> None:
    assert "hush" not in json.dumps(masked({"authorization": value}, HttpIntegration))


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_what_was_shown_and_sent_back_is_what_is_stored(spec) -> None:
    stored = {
        "id": "a",
        "url": "https://h.example/?t=1",
        "authorization": "x",
        "write_key": "y",
        "auth": {"token": "z"},
    }
    known = {key: value for key, value in stored.items() if key in spec.settings.model_fields}

    assert restored(masked(known, spec.settings), known, spec.settings) == known


def test_a_new_secret_takes_the_place_of_the_stored_one() -> None:
    change = masked(SIGNED, HttpIntegration) | {"authorization": "Bearer other"}

    assert restored(change, SIGNED, HttpIntegration)["authorization"] == "Bearer other"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["fresh", KEEP], ["fresh", OLD]),
        ([KEEP], [OLD]),
        ([f"{KEEP}#2"], [NEW]),
        ([f"{KEEP}#2", "fresh"], [NEW, "fresh"]),
        ([KEEP, KEEP], [OLD, NEW]),
        ([], []),
    ],
)
def test_secrets_of_a_list_are_kept_one_by_one(sent: list[str], kept: list[str]) -> None:
    change = SIGNED | {"signing": {"secrets": sent}}

    assert restored(change, SIGNED, HttpIntegration)["signing"] == {"secrets": kept}


def test_keeping_what_is_not_stored_is_refused_by_its_key() -> None:
    change = {"authorization": KEEP, "signing": {"secrets": [KEEP]}}

    with pytest.raises(InvalidChangeError) as refused:
        restored(change, {}, HttpIntegration)

    assert [key for key, _ in refused.value.problems] == ["authorization", "signing.secrets.0"]


def test_a_hidden_part_of_a_url_does_not_travel_to_another_address() -> None:
    change = SIGNED | {"url": f"https://elsewhere.example/events?{KEEP}"}

    with pytest.raises(InvalidChangeError, match="write the whole URL"):
        restored(change, SIGNED, HttpIntegration)


def test_a_url_without_a_query_is_shown_whole() -> None:
    assert masked_url("https://crm.example/events") == "https://crm.example/events"


@given(authorization=TEXTS, write_key=TEXTS, password=TEXTS)
def test_no_secret_text_is_ever_shown(authorization: str, write_key: str, password: str) -> None:
    settings = {"authorization": authorization, "auth": {"type": "basic", "username": "u", "password": password}}

    shown = masked(settings | {"write_key": write_key}, XtremepushIntegration)

    assert shown == {
        "authorization": KEEP,
        "auth": {"type": "basic", "username": "u", "password": KEEP},
        "write_key": KEEP,
    }
