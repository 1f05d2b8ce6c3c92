import gzip
from typing import Any

import pytest

from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.signature import verify_signature

# The reference vector of Standard Webhooks 1.0.0.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENT_AT_S = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SENT_AT_S),
    "webhook-signature": SIGNATURE,
}

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.mark.parametrize("now_s", [SENT_AT_S - 300, SENT_AT_S, SENT_AT_S + 300])
def test_the_reference_is_good_for_five_minutes(now_s: float) -> None:
    verify_signature(HEADERS, BODY, [SECRET], now_s)


@pytest.mark.parametrize("now_s", [SENT_AT_S - 301, SENT_AT_S + 301])
def test_it_is_good_no_longer(now_s: float) -> None:
    with pytest.raises(UnacceptableError, match="300 s ago"):
        verify_signature(HEADERS, BODY, [SECRET], now_s)


@pytest.mark.parametrize("secrets", [[SECRET], [OTHER, SECRET], [SECRET, OTHER]])
def test_one_secret_of_several_is_enough(secrets: list[str]) -> None:
    verify_signature(HEADERS, BODY, secrets, SENT_AT_S)


@pytest.mark.parametrize("given", [f"v1a,x {SIGNATURE}", f"v1,AAAA {SIGNATURE}", f"{SIGNATURE} v2,x", f" {SIGNATURE}"])
def test_one_signature_of_several_is_enough(given: str) -> None:
    verify_signature(HEADERS | {"webhook-signature": given}, BODY, [SECRET], SENT_AT_S)


def test_a_compressed_body_is_verified_by_the_text_inside() -> None:
    verify_signature(HEADERS | {"content-encoding": "gzip"}, gzip.compress(BODY), [SECRET], SENT_AT_S)


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({"webhook-id": ""}, BODY),
        ({"webhook-id": "another"}, BODY),
        ({"webhook-timestamp": ""}, BODY),
        ({"webhook-timestamp": "soon"}, BODY),
        ({"webhook-timestamp": "\u0661\u0666"}, BODY),
        ({"webhook-timestamp": str(SENT_AT_S + 1)}, BODY),
        ({"webhook-signature": ""}, BODY),
        ({"webhook-signature": "v1"}, BODY),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v2,")}, BODY),
        ({"webhook-signature": SIGNATURE.replace("g0", "g1")}, BODY),
        ({"webhook-signature": "v1,\u00ff"}, BODY),
        ({}, BODY + b" "),
        ({}, b"\xff"),
    ],
)
def test_anything_else_is_refused(changed: dict[str, Any], body: bytes) -> None:
    with pytest.raises(UnacceptableError) as caught:
        verify_signature(HEADERS | changed, body, [SECRET], SENT_AT_S)
    assert caught.value.reason == "signature"


@pytest.mark.parametrize("secrets", [[OTHER], []])
def test_another_secret_is_refused(secrets: list[str]) -> None:
    with pytest.raises(UnacceptableError):
        verify_signature(HEADERS, BODY, secrets, SENT_AT_S)
