"""Verifying requests that are signed by Standard Webhooks 1.0.0, as a careful receiver does."""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from pipeline.receiver.read import UnacceptableError, unpacked_body

TOLERANCE_S: Final = 300.0
"""How far the time of a signature may be from now."""

_SECONDS: Final = re.compile(r"\d{1,12}")
_SCHEME: Final = "v1"
_REASON: Final = "signature"


def verify_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now_s: float) -> None:
    """Raise ``UnacceptableError`` unless one of ``secrets`` signed ``body`` within five minutes of ``now_s`` (UNIX seconds).

    ``headers`` have their names in lower case; ``secrets`` are ``whsec_`` and base64. What counts of a body that came
    compressed is the text inside. Raises ``ValueError`` where a secret is none.
    """
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not headers.get(name)]
    if missing:
        raise UnacceptableError(_REASON, f"there is no {missing[0]} header")
    seconds = headers["webhook-timestamp"]
    if not _SECONDS.fullmatch(seconds) or not seconds.isascii():
        raise UnacceptableError(_REASON, "expected a header webhook-timestamp with UNIX seconds")
    if abs(now_s - int(seconds)) > TOLERANCE_S:
        raise UnacceptableError(_REASON, f"it was signed more than {TOLERANCE_S:.0f} s ago, or from now")
    try:
        text = unpacked_body(body, headers.get("content-encoding", "identity")).decode()
    except UnicodeDecodeError as error:
        raise UnacceptableError(_REASON, "the body is not UTF-8 text, which alone can be signed") from error
    moment = datetime.fromtimestamp(int(seconds), UTC)
    expected = [Webhook(secret).sign(headers["webhook-id"], moment, text) for secret in secrets]
    given = [entry for entry in headers["webhook-signature"].split(" ") if entry.partition(",")[0] == _SCHEME]
    # All are compared, so that the time it takes tells nothing.
    if not sum(hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in given):
        raise UnacceptableError(_REASON, "no v1 signature is by a secret that was agreed on")
