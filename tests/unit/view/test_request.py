"""The request that is shown is the one that is sent, without its secrets."""

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.sinks.registry import SINKS
from pipeline.view.request import HIDDEN, build_requests
from tests.support.index_records import batch

SECRET = "Bearer top-secret-token"


def http(**keys: Any) -> Any:
    (spec,) = [spec for spec in SINKS if spec.kind == "http"]
    base = {"id": "crm", "kind": "http", "url": "https://crm.example/in", "events": ["*"], "platforms": ["*"]}
    return spec.settings.model_validate({**base, **keys})


async def test_the_body_and_the_headers_are_those_of_the_sink() -> None:
    built = await build_requests(http(), batch("crm", 0, 3), now_s=1_700_000_000.0)
    (request,) = built.requests
    assert (request.url, request.body) == ("https://crm.example/in", b'[{"n":0},{"n":1},{"n":2}]')
    headers = dict(request.headers)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("crm:0-3", "1700000000")
    assert headers["distributary-sequence"] == "crm 0-3"


async def test_secrets_are_hidden() -> None:
    signing = {"secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
    built = await build_requests(http(authorization=SECRET, signing=signing), batch("crm", 0, 3), now_s=1_700_000_000.0)
    (request,) = built.requests
    headers = dict(request.headers)
    assert (headers["Authorization"], headers["webhook-signature"]) == (HIDDEN, HIDDEN)
    assert "secret" not in request.curl("{}")
    assert '--header "Authorization: $AUTHORIZATION"' in request.curl("{}")


@pytest.mark.parametrize("body", ["plain", "it's", '"; rm -rf / #', "$(id)", "`id`", "@/etc/passwd", "two\nlines"])
def test_the_shell_gives_curl_the_body_as_it_is(body: str) -> None:
    built = asyncio.run(build_requests(http(), batch("crm", 0, 3), now_s=1.0))
    command = built.requests[0].curl(body).replace("curl ", "printf '%s\\0' ", 1)
    said = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout
    assert said.decode().split("\0")[-2] == body


@pytest.mark.parametrize("change", [lambda: http(body="object"), lambda: http(body="envelope")])
async def test_every_form_of_body_is_shown(change: Callable[[], Any]) -> None:
    built = await build_requests(change(), batch("crm", 0, 3), now_s=1.0, most=5)
    assert built.requests
    assert all(request.body.startswith(b"{") for request in built.requests)


async def test_what_has_no_request_says_why() -> None:
    (spec,) = [spec for spec in SINKS if spec.kind == "grpc"]
    settings = spec.settings.model_validate(
        {"id": "g", "kind": "grpc", "url": "grpcs://g.example:443", "events": ["*"], "platforms": ["*"]}
    )
    built = await build_requests(settings, batch("g", 0, 3), now_s=1.0)
    assert (built.requests, "gRPC" in built.problem) == ([], True)
