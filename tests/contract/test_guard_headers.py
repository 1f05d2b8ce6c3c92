"""Nothing that a person types can add a header or a line to a request: it is refused, or arrives encoded."""

import json
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from yarl import URL

from pipeline.config.load import load
from pipeline.errors import ConfigError
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.registry import SINKS
from tests.contract.test_every_sink import HTTP_SINKS, LOOPBACK, NOW_S, request_of
from tests.contract.test_guard_secrets import parrot
from tests.support.endpoint import serving
from tests.support.planted import Place, Planted, planted

INJECTIONS = ["\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\x00X-Injected: 1", "\u2028X-Injected: 1"]
PLACEHOLDER = "http://127.0.0.1:9/"


def texts_in(data: object, above: Place = ()) -> Iterator[Place]:
    """Every place of the settings that holds text."""
    for key, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
            yield (*above, key)
        else:
            yield from texts_in(value, (*above, key))


CASES = [
    (spec, each, place)
    for spec in HTTP_SINKS
    for each in planted(spec, PLACEHOLDER)
    for place in texts_in(each.data)
    if place[-1] not in {"kind", "type"}
]


@pytest.mark.parametrize("injection", INJECTIONS, ids=["crlf", "lf", "cr", "nul", "line separator"])
@pytest.mark.parametrize(
    ("spec", "plants", "place"), CASES, ids=[f"{spec.kind} {'.'.join(place)}" for spec, _, place in CASES]
)
async def test_no_text_of_an_integration_adds_a_header(
    spec: SinkSpec, plants: Planted, place: Place, injection: str
) -> None:
    before = plants.data
    for step in place:
        before = before[step]
    wrong = [f"{before[0]}{injection}"] if isinstance(before, list) else f"{before}{injection}"
    async with serving(parrot(200)) as endpoint:
        data = json.loads(json.dumps(plants.with_value(place, wrong)).replace(PLACEHOLDER, endpoint.url("/")))
        try:
            settings = spec.settings.model_validate(data)
        except ValidationError:
            return
        client = HttpClient(AddressGuard(LOOPBACK))
        await client.open()
        try:
            sink = spec.make(settings, SinkContext(client, "Distributary/test"))
            await sink.open()
            await sink.send(request_of(spec), now_s=NOW_S)
            await sink.close()
        finally:
            await client.close()
        for seen in endpoint.seen:
            assert b"injected" not in seen.head.lower()


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("key", ["id", "url", "authorization"])
@pytest.mark.parametrize("injection", INJECTIONS, ids=["crlf", "lf", "cr", "nul", "line separator"])
def test_what_becomes_a_header_is_refused_by_every_kind(spec: SinkSpec, key: str, injection: str) -> None:
    scheme = spec.settings.url_schemes[0]
    plants = next(
        (each for each in planted(spec, f"{scheme}://crm.example/") if key in each.data),
        planted(spec, f"{scheme}://crm.example/")[0],
    )
    with pytest.raises(ValidationError):
        spec.settings.model_validate(plants.data | {key: f"{plants.data.get(key, 'Bearer a')}{injection}"})


@pytest.mark.parametrize("lane", ["crm\r\nX: 1", "Crm", "crm one", "crm:1", "crm\x85", "", "x" * 65])
def test_an_id_that_could_not_stand_in_a_header_is_no_id(lane: str) -> None:
    data = planted(SINKS[0], "https://crm.example/")[0].data
    with pytest.raises(ValidationError):
        SINKS[0].settings.model_validate(data | {"id": lane})


def test_a_variable_of_the_environment_cannot_add_a_header_either(tmp_path) -> None:
    (tmp_path / "faust.yml").write_text(
        "integrations:\n"
        "  - {id: crm, kind: http, url: 'https://crm.example/', events: '*', platforms: '*', authorization: '${T}'}\n"
    )
    with pytest.raises(ConfigError, match="line break"):
        load(tmp_path / "faust.yml", {"T": "Bearer a\r\nX-Injected: 1"})


@pytest.mark.parametrize("path", ["/a%0d%0aX-Injected:%201", "/?q=%0d%0aX-Injected:%201", "/%0a%0dHost:%20b.example"])
async def test_an_encoded_line_break_in_the_url_stays_encoded(path: str) -> None:
    spec = SINKS[0]
    async with serving(parrot(200)) as endpoint:
        client = HttpClient(AddressGuard(LOOPBACK))
        await client.open()
        try:
            sink = spec.make(planted(spec, endpoint.url(path))[0].read(spec), SinkContext(client, "Distributary/test"))
            await sink.open()
            await sink.send(request_of(spec), now_s=NOW_S)
        finally:
            await client.close()
        (seen,) = endpoint.seen
        assert seen.headers["host"] == URL(endpoint.url()).authority
        assert "x-injected" not in seen.headers
        assert "%0" in seen.request_line
