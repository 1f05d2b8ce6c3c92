import errno
import socket

import pytest

from pipeline.doctor.describe import connection_step, event_step, name_step
from pipeline.doctor.probe import Connection, Lookup
from pipeline.doctor.sample import sample_batch
from pipeline.doctor.step import State, Step
from pipeline.doctor.target import target_of
from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.integration import Integration
from pipeline.sinks.registry import spec_of

INTEGRATION = Integration.model_validate(
    {"id": "crm", "kind": "http", "url": "https://crm.example/events", "events": "*", "platforms": "*"}
)
TARGET = target_of(INTEGRATION)
BATCH = sample_batch(INTEGRATION, now_s=1_795_000_000.0)


def to_event(**outcome: object) -> Step:
    return event_step(INTEGRATION, BATCH, Outcome(**{"verdict": Verdict.REFUSED, "detail": "no", **outcome}))


def to_event_of(settings: dict[str, object], **outcome: object) -> str:
    usual = {"id": "crm", "url": "https://crm.example/events", "events": "*", "platforms": "*"}
    integration = spec_of(str(settings["kind"])).settings.model_validate(usual | settings)
    return event_step(integration, BATCH, Outcome(**{"verdict": Verdict.REFUSED, "detail": "no", **outcome})).advice


def test_a_name_with_public_addresses_is_good() -> None:
    step = name_step(TARGET, Lookup(addresses=("1.1.1.1", "1.1.1.2", "1.1.1.3")))
    assert (step.state, step.text, step.advice) == (State.GOOD, "1.1.1.1, 1.1.1.2 and 1 more", "")


def test_a_name_with_only_refused_addresses_is_bad_and_says_what_to_set() -> None:
    step = name_step(TARGET, Lookup(refused=("10.0.0.1",)))
    assert (step.state, step.text) == (State.BAD, "10.0.0.1: not public, so nothing is sent there")
    assert "outbound.allow_networks" in step.advice


def test_a_name_with_a_refused_address_among_others_is_a_warning() -> None:
    step = name_step(TARGET, Lookup(addresses=("1.1.1.1",), refused=("10.0.0.1",)))
    assert step.state is State.WARNING
    assert "10.0.0.1, which is not public" in step.text
    assert step.facts["refused"] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("error", "words", "advice"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "has no address", "typing error"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "cannot be looked up now", "name servers"),
        (TimeoutError(), "no answer about crm.example", "name servers"),
    ],
)
def test_a_failed_look_up_says_whose_fault_it_may_be(error: OSError, words: str, advice: str) -> None:
    step = name_step(TARGET, Lookup(error=error))
    assert step.state is State.BAD
    assert words in step.text
    assert advice in step.advice


@pytest.mark.parametrize(
    ("error", "words", "advice"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused", "port"),
        (TimeoutError(), "no answer in time", "firewall"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to host", "routes"),
    ],
)
def test_a_failed_connection_says_what_to_look_at(error: OSError, words: str, advice: str) -> None:
    step = connection_step(TARGET, [Connection("1.1.1.1", error, 0.1)])
    assert step.state is State.BAD
    assert step.text == f"1.1.1.1 port 443: {words}"
    assert advice in step.advice


def test_one_silent_address_among_others_is_a_warning() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    step = connection_step(TARGET, [Connection("1.1.1.1", None, 0.1), Connection("1.1.1.2", refused, 0.1)])
    assert (step.state, step.text) == (State.WARNING, "1.1.1.1 port 443; but 1.1.1.2: connection refused")


def test_an_address_of_a_family_that_this_machine_does_not_have_is_no_trouble() -> None:
    unreachable = OSError(errno.ENETUNREACH, "x")
    step = connection_step(TARGET, [Connection("1.1.1.1", None, 0.1), Connection("2606:4700::1", unreachable, 0.0)])
    assert step.state is State.GOOD


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (302, "set `url`"),
        (400, "`body`"),
        (401, "credentials"),
        (403, "credentials"),
        (404, "path"),
        (405, "POST"),
        (410, "gone"),
        (413, "too large"),
        (415, "format"),
        (418, "refuses"),
        (422, "`fields`"),
        (429, "slow down"),
        (500, "its owner"),
        (503, "overloaded"),
        (599, "its owner"),
    ],
)
def test_a_status_leads_to_advice(status: int, advice: str) -> None:
    step = to_event(status=status)
    assert step.state is State.BAD
    assert advice in step.advice


@pytest.mark.parametrize("hint", list(Hint))
def test_a_protocols_own_status_is_advised_on_by_its_hint(hint: Hint) -> None:
    assert to_event(status=16, hint=hint).advice


def test_a_status_of_another_protocol_without_a_hint_is_advised_on_too() -> None:
    assert "owner" in to_event(status=3).advice


@pytest.mark.parametrize(
    ("detail", "advice"),
    [
        ("no answer within 30 s", "`timeout` (30 s)"),
        ("TLS with crm.example:443 failed: tlsv13 alert certificate required", "client certificate"),
        ("answered garbage: Bad status line", "not HTTP"),
        ("crm.example:443 closed the connection without an answer", "got no answer"),
    ],
)
def test_silence_leads_to_advice(detail: str, advice: str) -> None:
    assert advice in to_event(verdict=Verdict.RETRY, detail=detail).advice


def test_an_event_that_is_refused_alone_is_no_success() -> None:
    step = to_event(verdict=Verdict.DELIVERED, refused=(Refusal(0, 1, "unknown user"),))
    assert step.state is State.BAD
    assert "unknown user" in step.text


def test_a_long_answer_is_quoted_in_part() -> None:
    step = to_event(status=400, answer_head="a " * 500)
    assert len(step.text) < 200
    assert step.facts["answer"] == "a " * 500


def test_want_of_a_token_points_at_the_token_endpoint_and_not_at_the_path() -> None:
    detail = "nothing was sent, for want of an access token; the token endpoint login.example:443 answered 500"
    advice = to_event(verdict=Verdict.RETRY, detail=detail).advice
    assert "token_url" in advice
    assert "path" not in advice


def test_an_answer_that_says_failure_in_a_success_is_parked_and_not_retried() -> None:
    advice = to_event(verdict=Verdict.REFUSED, status=200).advice
    assert "parked at once" in advice
    assert "retried" not in advice


def test_an_event_that_is_named_as_failed_is_retried() -> None:
    assert "retried" in to_event(verdict=Verdict.RETRY, status=200).advice


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"kind": "segment", "write_key": "k3y"}, "check `write_key` against"),
        ({"kind": "http", "authorization": "Bearer t"}, "check `authorization` against"),
        ({"kind": "http"}, "check `signing` or `authorization` against"),
        ({"kind": "email", "platforms": "Email"}, "check `authorization` against"),
        ({"kind": "xtremepush", "channels": "*", "auth": {"type": "bearer", "token": "t0ken"}}, "check `auth` against"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_refused_credentials_are_named_by_their_keys(settings: dict[str, object], keys: str) -> None:
    assert keys in to_event_of(settings, status=401, hint=Hint.UNAUTHORIZED)


@pytest.mark.parametrize(
    "outcome",
    [
        {"verdict": Verdict.RETRY, "detail": "crm.example:443 closed the connection without an answer"},
        {"status": 400, "answer_head": "Client sent an HTTP request to an HTTPS server."},
        {"status": 301, "detail": "the endpoint answered 301 and leads to the same place by https://; no"},
    ],
    ids=["closed", "400", "301"],
)
def test_a_plain_url_to_a_port_with_tls_is_advised_on_its_scheme(outcome: dict[str, object]) -> None:
    assert "https://" in to_event_of({"kind": "http", "url": "http://crm.example:443/"}, **outcome)


def test_a_redirect_to_itself_cannot_be_followed_by_another_url() -> None:
    detail = "the endpoint answered 302 Found and leads to itself; redirects are not followed"
    advice = to_event(status=302, detail=detail).advice
    assert "set `url`" not in advice
    assert "log-in" in advice
