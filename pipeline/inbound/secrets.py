"""What callers prove who they are with: making it, and comparing it in a time that tells nothing."""

import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from pydantic import SecretStr

from pipeline.inbound.settings import WebhookSettings

SCHEME: Final = "Bearer "
"""What stands before a webhook's secret in ``Authorization``."""
TOKEN_SCHEME: Final = "Token "  # noqa: S105  the word, not a token
"""What stands before the key in ``Authorization`` of Segment's calls."""

_PREFIX: Final = "inw_"
_RANDOM_BYTES: Final = 32


def new_secret() -> str:
    """A new secret of a webhook: 256 bits of chance, in characters that a header takes, with a prefix that scanners know."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def header_value(secret: str) -> str:
    """What the caller puts into ``Authorization``: people are given it as a whole."""
    return SCHEME + secret


def authorized(header: str | None, webhook: WebhookSettings, now_s: float) -> bool:
    """Whether ``header``, the value of ``Authorization`` or ``None``, proves a secret of ``webhook`` that is valid at ``now_s``.

    That is its secret and, until ``previous_until_s``, the one before. Takes the same time for every header of a length.
    """
    taken = [webhook.secret]
    if webhook.previous_secret is not None and now_s < (webhook.previous_until_s or 0.0):
        taken.append(webhook.previous_secret)
    return _is_one_of(header, SCHEME, taken)


def has_token(header: str | None, tokens: Iterable[SecretStr]) -> bool:
    """Whether ``header``, the value of ``Authorization`` or ``None``, is ``Token`` and one of ``tokens``."""
    return _is_one_of(header, TOKEN_SCHEME, tokens)


def _is_one_of(header: str | None, scheme: str, taken: Iterable[SecretStr]) -> bool:
    given = (header or "").encode("utf-8", "surrogateescape")
    is_known = False
    for secret in taken:  # all of them, always: stopping at the first would tell which it was
        is_known |= hmac.compare_digest(given, (scheme + secret.get_secret_value()).encode())
    return is_known
