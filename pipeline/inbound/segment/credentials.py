"""Who may call for which application: the header ``X-PW-Appcode`` names it, and ``Authorization: Token KEY`` proves it."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import SecretStr

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import Refusal, refused

APPLICATION_HEADER: Final = "X-PW-Appcode"
_SCHEME: Final = "token"


def authorized_application(
    application: str | None, authorization: str | None, tokens: Mapping[str, Sequence[SecretStr]]
) -> str | Refusal:
    """The application code that the two headers' values give the right to call for, or the refusal.

    ``tokens`` are the valid ones of each application. The scheme may be written in any case, the token not; all of an
    application's tokens are compared, each in constant time. The vendor's service looks at the application first, and so
    does this, because callers tell the cases apart by the answer.
    """
    code = (application or "").strip()
    if not code:
        return refused(Outcome.APPLICATION_MISSING)
    valid = tokens.get(code)
    if valid is None:
        return refused(Outcome.APPLICATION_UNKNOWN)
    if not is_token_valid(authorization, valid):
        return refused(Outcome.AUTH_REJECTED)
    return code


def is_token_valid(authorization: str | None, valid: Sequence[SecretStr]) -> bool:
    """Whether ``authorization`` is ``Token`` and one of the tokens ``valid``."""
    scheme, _, shown = (authorization or "").strip().partition(" ")
    shown_bytes = shown.encode("utf-8", "surrogateescape")
    is_valid = False
    for token in valid:
        is_valid |= hmac.compare_digest(shown_bytes, token.get_secret_value().encode())
    return is_valid and scheme.lower() == _SCHEME and bool(shown)


def is_anyones_token(authorization: str | None, tokens: Mapping[str, Sequence[SecretStr]]) -> bool:
    """Whether ``authorization`` is the token of any application: all that can be known of a call before its body is read."""
    is_valid = False
    for valid in tokens.values():  # all of them, always: stopping at the first would tell which it was
        is_valid |= is_token_valid(authorization, valid)
    return is_valid
