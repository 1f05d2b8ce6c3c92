import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.logs import redact


def redacted(**event):
    return dict(redact(None, "info", event))


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "token",
        "access_token",
        "client_secret",
        "password",
        "api_key",
        "write_key",
        "Cookie",
    ],
)
def test_what_is_named_like_a_secret_is_masked(key):
    assert redacted(**{key: "hunter2"}) == {key: "***"}


def test_secrets_inside_headers_and_lists_are_masked():
    event = redacted(
        headers={"X-Auth-Token": "hunter2", "Accept": "json"}, tries=[{"secret": "hunter2"}, "token=hunter2"]
    )
    assert event == {"headers": {"X-Auth-Token": "***", "Accept": "json"}, "tries": [{"secret": "***"}, "token=***"]}


def test_counts_and_switches_are_no_secrets():
    assert redacted(tokens=5, has_token=True, secret=None) == {"tokens": 5, "has_token": True, "secret": None}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        "authorization: hunter2",
        'got {"password": "hunter2", "a": 1}',
        "password='hunter2'",
        "https://crm.example/?access_token=hunter2&page=1",
        "redis://user:hunter2@db.example:6379/0",
        "Basic auth failed, Authorization: Basic hunter2, giving up",
    ],
)
def test_what_looks_like_a_secret_in_text_is_masked(text):
    event = redacted(event=text)["event"]
    assert "hunter2" not in event
    assert "***" in event


@pytest.mark.parametrize(
    "text",
    [
        "faust.yml:6 integrations.0.authorization: the environment variable CRM_TOKEN is not set",
        "connecting to kafka://kafka-1:9092",
        "batch crm:0-100 is waiting",
        "the token bucket is empty",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert redacted(event=text) == {"event": text}


@given(st.text(alphabet="abcdefghijklmnop0123456789", min_size=6))
def test_a_value_after_a_secret_name_never_survives(secret):
    assert secret not in redacted(event=f"token={secret}")["event"].removeprefix("token=")
