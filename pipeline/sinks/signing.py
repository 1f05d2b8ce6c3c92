"""Signatures by Standard Webhooks 1.0.0, so that a receiver can tell who sent a request, and when.

``webhook-signature`` holds one entry a live secret, with a space between two: ``v1,`` and the base64 of the HMAC-SHA256
over ``{webhook-id}.{webhook-timestamp}.{body}``. The timestamp is that of the try, so each try has its own signature. The
body that counts is the JSON text: where it travels compressed, a receiver verifies it after unpacking, as the libraries
for this standard take text.
"""

import asyncio
import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr
from standardwebhooks import Webhook

from pipeline.model.section import InWords, Section

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  what all such secrets begin with
_SHORTEST_KEY_BYTES: Final = 24
_LONGEST_KEY_BYTES: Final = 64
_MOST_SECRETS: Final = 2
_SIGN_ON_THREAD_FROM_BYTES: Final = 1024 * 1024


def signing_key(secret: str) -> bytes:
    """The key that ``secret`` (``whsec_`` and base64) stands for; raises ``ValueError``, which does not show it."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"must begin with {SECRET_PREFIX}, followed by the base64 of 24 to 64 random bytes")
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not base64 behind {SECRET_PREFIX}") from None
    if not _SHORTEST_KEY_BYTES <= len(key) <= _LONGEST_KEY_BYTES:
        raise ValueError(f"stands for {len(key)} bytes; 24 to 64 random bytes are needed")
    return key


def _checked_secret(secret: SecretStr) -> SecretStr:
    signing_key(secret.get_secret_value())
    return secret


def _each_another_key(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if len({signing_key(secret.get_secret_value()) for secret in secrets}) < len(secrets):
        raise ValueError("holds the same secret twice; give one, or a new one and the one that it replaces")
    return secrets


class Signing(Section):
    """The secrets that requests are signed with."""

    secrets: Annotated[
        tuple[
            Annotated[SecretStr, AfterValidator(_checked_secret), InWords("secret texts, each `whsec_` and base64")],
            ...,
        ],
        Field(min_length=1, max_length=_MOST_SECRETS),
        AfterValidator(_each_another_key),
    ] = Field(
        description="One secret, or two while receivers move from one to the other: requests then carry a signature by each. "
        "A secret is `whsec_` and the base64 of 24 to 64 random bytes. Never shown."
    )


class Signer:
    """Signs requests with all of an integration's live secrets."""

    def __init__(self, settings: Signing) -> None:
        self._webhooks = [Webhook(signing_key(secret.get_secret_value())) for secret in settings.secrets]

    async def signature(self, webhook_id: str, body: bytes, *, now_s: float) -> str:
        """The value of ``webhook-signature`` for ``body`` (UTF-8), sent at ``now_s`` (UNIX seconds).

        Raises ``UnicodeDecodeError`` where ``body`` is not UTF-8.
        """
        if len(body) < _SIGN_ON_THREAD_FROM_BYTES:
            return self._signed(webhook_id, body, now_s)
        return await asyncio.to_thread(self._signed, webhook_id, body, now_s)

    def _signed(self, webhook_id: str, body: bytes, now_s: float) -> str:
        text = body.decode()
        moment = datetime.fromtimestamp(int(now_s), UTC)
        return " ".join(webhook.sign(webhook_id, moment, text) for webhook in self._webhooks)


def spellings_of_secrets(settings: Signing) -> list[str]:
    """What is to be masked, should an endpoint send it back: each secret, with its prefix and without."""
    texts = [secret.get_secret_value() for secret in settings.secrets]
    return [spelling for text in texts for spelling in (text, text.removeprefix(SECRET_PREFIX))]
