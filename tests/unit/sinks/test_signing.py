import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.receiver.signature import verify_signature
from pipeline.sinks.signing import Signer, Signing, signing_key

# The reference vector of Standard Webhooks 1.0.0.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT_AT_S = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def signer(*secrets: str) -> Signer:
    return Signer(Signing.model_validate({"secrets": secrets}))


@pytest.mark.parametrize("now_s", [SENT_AT_S, SENT_AT_S + 0.9])
async def test_it_signs_as_the_reference_does(now_s: float) -> None:
    assert await signer(SECRET).signature(MESSAGE_ID, BODY, now_s=now_s) == SIGNATURE


async def test_each_live_secret_has_an_entry_in_their_order() -> None:
    first, second = (await signer(OTHER, SECRET).signature(MESSAGE_ID, BODY, now_s=SENT_AT_S)).split(" ")
    assert second == SIGNATURE
    assert first == await signer(OTHER).signature(MESSAGE_ID, BODY, now_s=SENT_AT_S)


@given(st.binary(min_size=24, max_size=64), st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**33))
async def test_whatever_is_signed_can_be_verified(key: bytes, text: str, now_s: int) -> None:
    signature = await signer(secret_of(key)).signature("crm~2:0-3~2", text.encode(), now_s=now_s)
    headers = {"webhook-id": "crm~2:0-3~2", "webhook-timestamp": str(now_s), "webhook-signature": signature}
    verify_signature(headers, text.encode(), [OTHER, secret_of(key)], now_s)


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ([], "at least 1"),
        ([SECRET, OTHER, secret_of(b"x" * 24)], "at most 2"),
        ([SECRET, SECRET], "the same secret twice"),
        ([SECRET, SECRET.rstrip("=") + "=" * (-len(SECRET.removeprefix("whsec_")) % 4)], "the same secret twice"),
        ([SECRET.removeprefix("whsec_")], "must begin with whsec_"),
        (["whsec_not base64 but long enough to be a secret"], "is not base64"),
        (["whsec_"], "stands for 0 bytes"),
        ([secret_of(b"x" * 23)], "stands for 23 bytes"),
        ([secret_of(b"x" * 65)], "stands for 65 bytes"),
    ],
)
def test_a_wrong_secret_is_refused_without_showing_it(secrets: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Signing.model_validate({"secrets": secrets})
    assert not any(secret.removeprefix("whsec_") in str(caught.value) for secret in secrets if len(secret) > 6)


@pytest.mark.parametrize("length", [24, 25, 32, 64])
def test_padding_may_be_left_out(length: int) -> None:
    key = bytes(range(length))
    assert signing_key(secret_of(key)) == signing_key(secret_of(key).rstrip("=")) == key
