"""Secrets reach the endpoint and nothing else: every secret of every kind is planted, and looked for wherever people look."""

import asyncio
import base64
import io
import json
import logging

import msgspec
import pytest
import structlog
from click.testing import CliRunner

from agents.commands import check
from pipeline import logs
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError
from pipeline.integrations.trial import try_sending
from pipeline.model.attempt import Attempt, Outcome, encode_attempt
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.registry import SINKS
from tests.contract.test_every_sink import HTTP_SINKS, LOOPBACK, NOW_S, request_of
from tests.support.endpoint import Answering, Seen, serving
from tests.support.planted import Place, Planted, planted, secret_places

TOKEN = "granted-4cc3ss-t0ken-7f3a9c"
CASES = [(spec, each) for spec in SINKS for each in planted(spec, f"{spec.settings.url_schemes[0]}://crm.example/")]
every_planting = pytest.mark.parametrize(
    ("spec", "plants"),
    CASES,
    ids=[f"{spec.kind} {'+'.join('.'.join(p) for p in each.secrets)}" for spec, each in CASES],
)


def given_away(plants: Planted, *texts: str) -> list[Place]:
    """The places whose secrets are in ``texts``, as they are or in base64."""
    found = []
    for place, secret in plants.secrets.items():
        forms = {secret, secret.removeprefix("whsec_"), base64.b64encode(secret.encode()).decode().rstrip("=")}
        if any(form in text for form in forms for text in texts):
            found.append(place)
    return found


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_every_place_for_a_secret_has_one_planted(spec: SinkSpec) -> None:
    found = {place for kind, each in CASES if kind is spec for place in each.secrets}
    refused = {("authorization",)} if spec.kind == "segment" else set()
    assert found == secret_places(spec.settings) - refused


@every_planting
def test_settings_show_no_secret(spec: SinkSpec, plants: Planted) -> None:
    own = plants.read(spec)
    whole = Settings.model_validate({"integrations": [plants.data]})
    for each in (own, whole):
        texts = (repr(each), str(each), each.model_dump_json(), repr(each.model_dump()), f"{each!r:s}")
        assert given_away(plants, *texts) == []


@every_planting
def test_a_sink_shows_no_secret(spec: SinkSpec, plants: Planted) -> None:
    sink = spec.make(plants.read(spec), SinkContext(HttpClient(AddressGuard())))
    assert given_away(plants, repr(sink), str(sink)) == []


@every_planting
@pytest.mark.parametrize("level", ["info", "debug"])
def test_log_lines_show_no_secret(spec: SinkSpec, plants: Planted, level: str) -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure(level, stream)
        settings = plants.read(spec)
        log = structlog.get_logger("pipeline.test")
        log.warning("made", settings=settings, data=settings.model_dump())
        log.warning("headers", headers={name[-1]: secret for name, secret in plants.secrets.items() if len(name) == 1})
        logging.getLogger("library").warning("made %s from %r", settings, settings.model_dump())
        log.warning("failed", exc_info=RuntimeError(str(settings)), settings=settings)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
        structlog.reset_defaults()
    assert "made" in stream.getvalue()
    assert given_away(plants, stream.getvalue()) == []


def written(plants: Planted, **wrong: object) -> tuple[str, dict[str, str]]:
    """The configuration file with ``${NAME}`` for each secret, and the environment that goes with it."""
    data, environment = plants, {}
    for number, (place, secret) in enumerate(plants.secrets.items()):
        name = f"SECRET_{number}"
        environment[name] = secret
        reference = f"${{{name}}}"
        is_list = isinstance(_at(plants.data, place), list)
        data = Planted(data.with_value(place, [reference] if is_list else reference), data.secrets)
    return json.dumps({"outbound": {"allow_http": True}, "integrations": [{**data.data, **wrong}]}), environment


def _at(data: object, place: Place) -> object:
    for step in place:
        data = data[step]  # type: ignore[index]
    return data


@every_planting
def test_mistakes_beside_a_secret_are_told_without_it(spec: SinkSpec, plants: Planted, tmp_path) -> None:
    text, environment = written(plants, timeout="soon", unknown_key=1, batch={"max_events": "many"})
    (tmp_path / "faust.yml").write_text(text)
    with pytest.raises(ConfigError) as told:
        load(tmp_path / "faust.yml", environment)
    assert len(told.value.problems) >= 3
    assert given_away(plants, str(told.value), repr(told.value)) == []


@every_planting
def test_a_mistake_in_a_secret_is_told_without_it(spec: SinkSpec, plants: Planted, tmp_path) -> None:
    for name, (place, secret) in zip(_names(plants), plants.secrets.items(), strict=True):
        text, environment = written(plants)
        (tmp_path / "faust.yml").write_text(text)
        told = ""
        try:
            load(tmp_path / "faust.yml", environment | {name: f"{secret}\n{secret}\x00é世"})
        except ConfigError as error:  # not every place refuses it: what is encoded may hold anything
            told = f"{error}{error!r}"
        assert given_away(plants, told) == [], place


def _names(plants: Planted) -> list[str]:
    return [f"SECRET_{number}" for number in range(len(plants.secrets))]


@every_planting
def test_check_prints_no_secret(spec: SinkSpec, plants: Planted, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, environment = written(plants)
    (tmp_path / "faust.yml").write_text(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(check.command, [str(tmp_path / "faust.yml")])
    assert (shown.exit_code, given_away(plants, shown.output)) == (0, []), shown.output


def parrot(status: int) -> Answering:
    """Answer with all that came, header by header; grant a token where one is asked for."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.request_line.split()[1].endswith("/token"):
            body, code = json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}).encode(), 200
        else:
            body, code = seen.head + b"\r\n" + seen.body[:200], status
        head = f"HTTP/1.1 {code} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


def babble() -> Answering:
    """Answer with something that is not HTTP and repeats what came."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        authorization = seen.headers.get("authorization", "")
        writer.write(b"you said " + authorization.encode() + b"\r\n\r\n")
        writer.close()

    return answer


def told_by(outcome: Outcome) -> list[str]:
    attempt = Attempt(
        "crm:0-1",
        "crm",
        "http",
        1,
        NOW_S,
        1,
        outcome.verdict,
        outcome.detail,
        0.0,
        0,
        0,
        outcome.status,
        outcome.answer_head,
    )
    return [repr(outcome), msgspec.json.encode(outcome).decode(), encode_attempt(attempt).decode()]


HTTP_CASES = [(spec, each) for spec in HTTP_SINKS for each in planted(spec, "http://127.0.0.1:9/")]
every_http_planting = pytest.mark.parametrize(
    ("spec", "plants"),
    HTTP_CASES,
    ids=[f"{spec.kind} {'+'.join('.'.join(p) for p in each.secrets)}" for spec, each in HTTP_CASES],
)
every_echo = pytest.mark.parametrize(
    "answer", [parrot(200), parrot(400), parrot(500), babble()], ids=["200", "400", "500", "garbage"]
)


def credentials_in(requests: list[Seen]) -> set[str]:
    """What stood in ``Authorization`` behind the scheme."""
    return {seen.headers.get("authorization", "").rpartition(" ")[2] for seen in requests} - {""}


@every_http_planting
@every_echo
async def test_what_an_endpoint_sends_back_shows_no_secret(spec: SinkSpec, plants: Planted, answer: Answering) -> None:
    client = HttpClient(AddressGuard(LOOPBACK))
    await client.open()
    async with serving(answer) as endpoint:
        data = json.loads(json.dumps(plants.data).replace("http://127.0.0.1:9/", endpoint.url("/")))
        sink = spec.make(spec.settings.model_validate(data), SinkContext(client, "Distributary/test"))
        await sink.open()
        try:
            outcomes = [await sink.send(request_of(spec), now_s=NOW_S) for _ in range(2)]
        finally:
            await sink.close()
            await client.close()
        shown = [text for outcome in outcomes for text in told_by(outcome)]
        assert given_away(plants, *shown) == []
        sent = credentials_in(endpoint.seen)
        assert [credential for credential in sent if any(credential in text for text in shown)] == []
        assert not any(TOKEN in text for text in shown)


@every_http_planting
@every_echo
async def test_a_test_send_shows_no_secret_that_came_back(spec: SinkSpec, plants: Planted, answer: Answering) -> None:
    async with serving(answer) as endpoint:
        data = json.loads(json.dumps(plants.data).replace("http://127.0.0.1:9/", endpoint.url("/")))
        integration = spec.settings.model_validate(data)
        trial = await try_sending(integration, HttpClient(AddressGuard(LOOPBACK)), now_s=NOW_S)
    shown = msgspec.json.encode(trial).decode()
    assert endpoint.seen
    assert given_away(plants, shown) == []
    assert [credential for credential in credentials_in(endpoint.seen) if credential in shown] == []
    assert TOKEN not in shown


@pytest.mark.parametrize("spec", HTTP_SINKS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("size", [1025, 100_000])
async def test_no_more_than_a_kibibyte_of_an_answer_is_kept(spec: SinkSpec, size: int) -> None:
    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % size + "é".encode() * (size // 2) + b"x" * (size % 2)
        )

    client = HttpClient(AddressGuard(LOOPBACK))
    await client.open()
    async with serving(answer) as endpoint:
        plants = planted(spec, endpoint.url("/"))[0]
        sink = spec.make(plants.read(spec), SinkContext(client, "Distributary/test"))
        await sink.open()
        try:
            outcome = await sink.send(request_of(spec), now_s=NOW_S)
        finally:
            await sink.close()
            await client.close()
    assert len(outcome.answer_head) <= 1024
    assert len(outcome.detail) < 1024
