"""Access tokens by client credentials (RFC 6749, section 4.4): fetched once, shared, renewed before they end."""

import asyncio
import base64
import math
import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import quote_plus, urlencode

import msgspec
from multidict import CIMultiDict

from pipeline.clock import Clock, SystemClock
from pipeline.net.client import ANSWER_READ_BYTES, Answer, Endpoint, HttpClient, NoAnswer
from pipeline.net.encoding import unpacked
from pipeline.net.json_answer import NO_JSON
from pipeline.net.retry_after import retry_after_s

DEFAULT_LIFETIME_S: Final = 300.0
"""How long a token is used whose answer does not say how long it lasts."""

LONGEST_LIFETIME_S: Final = 86_400.0
SHORTEST_LIFETIME_S: Final = 1.0
LONGEST_MARGIN_S: Final = 60.0
_MARGIN_SHARE: Final = 0.1

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 8.0
"""Between fetches that fail. Under the default retries' 12 s, so that every batch sees a fetch of its own."""

REFUSED_PAUSE_S: Final = 30.0
"""How long no further token is fetched where an endpoint refused two in a row."""

_GARBAGE: Final = "answered garbage"
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")
_CLIENT_REFUSED: Final = "invalid_client"
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Who asks for tokens, and how: ``client_auth`` says whether id and secret stand in a header or in the body."""

    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    client_auth: Literal["basic", "post"] = "basic"

    def request(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of a request for a token."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        form = {"grant_type": "client_credentials"}
        if self.scope is not None:
            form["scope"] = self.scope
        if self.client_auth == "basic":
            headers["Authorization"] = f"Basic {self._encoded()}"
        else:
            form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        return headers, urlencode(form).encode()

    def secrets(self) -> list[str]:
        """All spellings in which the secret travels."""
        return [*dict.fromkeys((self.client_secret, quote_plus(self.client_secret), self._encoded()))]

    def _encoded(self) -> str:
        # RFC 6749, section 2.3.1: both are form-encoded before they are put together.
        return base64.b64encode(f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}".encode()).decode()


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """A token; the two times are monotonic seconds. Two tokens are the same only where they were fetched together."""

    value: str = field(repr=False)
    renew_at_s: float
    ends_at_s: float


@dataclass(frozen=True, slots=True)
class NoToken:
    """No token is to be had. ``detail`` says why, for people; ``retry_after_s`` is the pause that was asked for, if any.

    ``is_client_refused`` says that id and secret are wrong (RFC 6749, section 5.2: 401, or ``invalid_client``);
    ``is_throttled`` that tokens were asked for too often (429).
    """

    detail: str
    retry_after_s: float | None = None
    is_client_refused: bool = False
    is_throttled: bool = False


class TokenSource:
    """The tokens of one client at one token endpoint.

    However many requests wait for a token, one fetch is under way. A token that is about to end is renewed while it is
    still used. After a failed fetch there is a pause, in which ``token`` fails at once.
    """

    def __init__(
        self,
        client: HttpClient,
        endpoint: Endpoint,
        credentials: ClientCredentials,
        *,
        user_agent: str,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._place = f"{endpoint.url.host}:{endpoint.url.port}"
        self._clock = clock or SystemClock()
        headers, self._body = credentials.request()
        self._headers = CIMultiDict(
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": user_agent, **headers}
        )
        self._token: AccessToken | None = None
        self._fetching: asyncio.Task[AccessToken | NoToken] | None = None
        self._failure = NoToken("")
        self._failures = 0
        self._not_before_s = -math.inf
        self._replaces_refused = False
        self._is_unproven_replacement = False
        self._refused_at_s = -math.inf

    async def token(self) -> AccessToken | NoToken:
        """A token that has not ended, fetched where there is none; passes ``asyncio.CancelledError`` through."""
        now_s = self._clock.monotonic_s()
        token = self._token
        if token is not None and now_s < token.ends_at_s:
            if now_s >= token.renew_at_s and now_s >= self._not_before_s:
                self._begin()
            return token
        if now_s < self._not_before_s and not self._is_fetching():
            asked = self._failure.retry_after_s is not None
            return replace(self._failure, retry_after_s=self._not_before_s - now_s if asked else None)
        # A caller that gives up must not take the token from the others.
        return await asyncio.shield(self._begin())

    async def another(self, refused: AccessToken) -> AccessToken | NoToken | None:
        """A token in place of one that the endpoint ``refused``.

        ``None`` where that one was itself fetched in place of a refused one and no request with it has passed: a further
        one would not help, so none is fetched for half a minute.
        """
        if self._token is refused:
            now_s = self._clock.monotonic_s()
            if self._is_unproven_replacement and now_s < self._refused_at_s + REFUSED_PAUSE_S:
                return None
            self._token = None
            self._refused_at_s = now_s
            self._replaces_refused = True
        return await self.token()

    def accepted(self, token: AccessToken) -> None:
        """Say that the endpoint took ``token``."""
        if token is self._token:
            self._is_unproven_replacement = False

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
            self._fetching = None

    def _is_fetching(self) -> bool:
        return self._fetching is not None and not self._fetching.done()

    def _begin(self) -> "asyncio.Task[AccessToken | NoToken]":
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> AccessToken | NoToken:
        # The token's life began before its answer came, so it is counted from before the question.
        asked_at_s = self._clock.monotonic_s()
        answer = await self._client.post(self._endpoint, self._headers, self._body, head_bytes=ANSWER_READ_BYTES)
        found = self._read(answer if isinstance(answer, NoAnswer) else unpacked(answer), asked_at_s)
        if isinstance(found, AccessToken):
            self._token = found
            self._failures = 0
            self._not_before_s = -math.inf
            self._is_unproven_replacement = self._replaces_refused
            self._replaces_refused = False
        else:
            self._failure = found
            pause_s = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
            self._failures = min(self._failures + 1, 10)
            self._not_before_s = self._clock.monotonic_s() + max(pause_s, found.retry_after_s or 0.0)
        return found

    def _read(self, answer: Answer | NoAnswer, asked_at_s: float) -> AccessToken | NoToken:
        if isinstance(answer, NoAnswer):
            # What is quoted of garbage could be a token.
            detail = _GARBAGE if answer.detail.startswith(_GARBAGE) else answer.detail
            return NoToken(f"the token endpoint {self._place} gave no token, {detail}")
        if answer.status != HTTPStatus.OK:
            pause_s = retry_after_s(answer.retry_after, now_s=self._clock.wall_s())
            code = _error_code(answer.head)
            return NoToken(
                f"the token endpoint {self._place} answered {_words(answer.status)}{_in_brackets(code)}",
                pause_s,
                is_client_refused=answer.status == HTTPStatus.UNAUTHORIZED or code == _CLIENT_REFUSED,
                is_throttled=answer.status == HTTPStatus.TOO_MANY_REQUESTS,
            )
        wrong = f"the token endpoint {self._place} answered 200, but "
        if not answer.is_whole:
            return NoToken(f"{wrong}with {answer.body_bytes} bytes or more, which is no token")
        return self._read_body(answer.head, asked_at_s, wrong)

    def _read_body(self, body: bytes, asked_at_s: float, wrong: str) -> AccessToken | NoToken:
        try:
            content = msgspec.json.decode(body)
        except NO_JSON:
            return NoToken(f"{wrong}not with JSON")
        value = content.get("access_token") if isinstance(content, dict) else None
        if not isinstance(value, str) or not value:
            code = _error_code(body)
            detail = f"{wrong}without an access_token{_in_brackets(code)}"
            return NoToken(detail, is_client_refused=code == _CLIENT_REFUSED)
        if not _TOKEN.fullmatch(value):
            return NoToken(f"{wrong}its access_token holds characters that a header cannot carry")
        kind = content.get("token_type", "Bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return NoToken(f"{wrong}its token_type is not Bearer, and other tokens cannot be used")
        lifetime_s = _lifetime_s(content.get("expires_in"))
        margin_s = min(LONGEST_MARGIN_S, lifetime_s * _MARGIN_SHARE)
        return AccessToken(value, asked_at_s + lifetime_s - margin_s, asked_at_s + lifetime_s)


def _lifetime_s(expires_in: object) -> float:
    """Seconds that a token lasts; some servers write the number as text."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = float(expires_in[:20])
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return DEFAULT_LIFETIME_S
    # Compared before it is converted: JSON's numbers have no largest one, and Python's float has.
    return float(min(max(expires_in, SHORTEST_LIFETIME_S), LONGEST_LIFETIME_S))


def _error_code(body: bytes) -> str:
    """The standard's word for what was wrong (RFC 6749, section 5.2), where there is one: nothing else is quoted."""
    try:
        content = msgspec.json.decode(body)
    except NO_JSON:
        return ""
    code = content.get("error") if isinstance(content, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _in_brackets(code: str) -> str:
    return f" ({code})" if code else ""


def _words(status: int) -> str:
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = str(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{words}; redirects are not followed, set token_url to where it leads"
    return words
