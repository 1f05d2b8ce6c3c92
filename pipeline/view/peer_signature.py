"""How one worker knows that another one asks: requests between workers are signed with a key that all of them derive alike.

The signature covers whom the request is for, its path and its body, the time and a random number. A worker takes each number
once, and only near its time: what somebody recorded on the way is of no use.
"""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.errors import SignInError

WINDOW_S: Final = 30.0
"""How far the clocks of two workers may be apart, and how long a request counts."""

TIME_HEADER: Final = "Distributary-Time"
NONCE_HEADER: Final = "Distributary-Nonce"
SIGNATURE_HEADER: Final = "Distributary-Signature"
ANSWER_HEADER: Final = "Distributary-Answer"
"""Of the answer: shows that it is one of the app's workers who answers, and not whatever took its port."""

_NONCE_BYTES: Final = 16
_NONCE_CHARS: Final = 2 * _NONCE_BYTES


def derive_key(app: str, shared_secrets: Iterable[str]) -> bytes:
    """The key of an app's workers, from what all of them know: its id, and the secrets of `view` in any order."""
    digest = hashlib.sha256(f"distributary peers\n{app}\n".encode())
    for secret in sorted(shared_secrets):
        digest.update(hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest())
    return digest.digest()


def sign_request(key: bytes, audience: str, path: str, body: bytes, now_s: float) -> dict[str, str]:
    """The headers of a request to the worker at ``audience``."""
    at, nonce = str(int(now_s)), secrets.token_hex(_NONCE_BYTES)
    signature = _request_mac(key, (at, nonce, audience, path), body)
    return {TIME_HEADER: at, NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}


def sign_answer(key: bytes, nonce: str) -> str:
    """What the one who answers the request with this number shows."""
    return _mac(key, "answer", nonce)


def is_answer_of_a_peer(key: bytes, nonce: str, shown: str) -> bool:
    """Whether ``shown`` is what a worker with the same key answers."""
    return hmac.compare_digest(sign_answer(key, nonce).encode(), shown.encode("utf-8", "surrogateescape"))


class RequestCheck:
    """Checks requests to the worker at ``audience``, and remembers the numbers it has seen while they count."""

    def __init__(self, key: bytes, audience: str) -> None:
        self._key = key
        self._audience = audience
        self._seen: set[str] = set()
        self._order: deque[tuple[float, str]] = deque()

    def admit(self, headers: Mapping[str, str], path: str, body: bytes, now_s: float) -> str:
        """Return the request's number; raises ``SignInError`` where it is not signed by a worker, is old or was seen before."""
        at, nonce = headers.get(TIME_HEADER, ""), headers.get(NONCE_HEADER, "")
        shown = headers.get(SIGNATURE_HEADER, "").encode("utf-8", "surrogateescape")
        if not (
            at.isascii() and at.isdigit() and len(at) < _NONCE_CHARS and nonce.isalnum() and len(nonce) == _NONCE_CHARS
        ):
            raise SignInError("this address is for workers among themselves")
        wanted = _request_mac(self._key, (at, nonce, self._audience, path), body)
        if not hmac.compare_digest(wanted.encode(), shown):
            raise SignInError(
                "the signature does not fit: do all workers have the same app, the same view.tokens, and an advertised address of their own?"
            )
        if abs(now_s - int(at)) > WINDOW_S:
            raise SignInError(f"the clocks of two workers are more than {WINDOW_S:.0f} s apart: set them right")
        self._forget(now_s)
        if nonce in self._seen:
            raise SignInError("the request was seen before")
        self._seen.add(nonce)
        self._order.append((now_s, nonce))
        return nonce

    def _forget(self, now_s: float) -> None:
        # A request may come from a clock that is ahead by the whole window, and counts that much longer.
        while self._order and self._order[0][0] < now_s - 2 * WINDOW_S - 1:
            self._seen.discard(self._order.popleft()[1])


def _request_mac(key: bytes, words: tuple[str, str, str, str], body: bytes) -> str:
    return _mac(key, "request", *words, hashlib.sha256(body).hexdigest())


def _mac(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\n".join(parts).encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
