"""Who a request comes from: tokens, sessions in a signed cookie, and names that a reverse proxy vouches for."""

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from pipeline.errors import ForbiddenError, SignInError
from pipeline.view.roles import Person, Role
from pipeline.view.settings import LONGEST_NAME, Proxy, Token, ViewSettings

LONGEST_SESSION_S: Final = 12 * 3600.0
SESSION_COOKIE: Final = "distributary_session"
_LONGEST_COOKIE: Final = 2000
_SIGNATURE_CHARACTERS: Final = 43


def session_key(settings: ViewSettings, app: str) -> bytes:
    """The key for cookies: every worker with the same settings has it, and nobody else; it changes when a token does.

    Slow on purpose (some 50 ms): whoever holds something signed with it could otherwise try tokens at leisure. Without tokens
    and secret nothing in it is secret: then nobody has to sign in, and only loopback reaches the view.
    """
    tokens = sorted(
        (each.token.get_secret_value(), each.name, each.role.value, each.expires_at) for each in settings.tokens
    )
    text = json.dumps([*settings.shared_secrets(), *tokens], separators=(",", ":")).encode()
    return hashlib.scrypt(text, salt=f"distributary {app}".encode(), n=2**14, r=8, p=1, maxmem=64 << 20, dklen=32)


@dataclass(frozen=True, slots=True)
class Session:
    """What the cookie says. ``id`` is random; ``person`` is ``None`` before anybody signed in; ``expires_at`` in UNIX seconds."""

    id: str
    person: Person | None
    expires_at: float


class Sessions:
    """Makes and reads the session cookie. What it holds is signed and not secret: name, role, end."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def begin(self, now_s: float, person: Person | None = None, token: Token | None = None) -> tuple[Session, str]:
        """A new session and the cookie's value; it ends with ``token``, and after twelve hours at the latest."""
        end = now_s + LONGEST_SESSION_S
        if token is not None and token.expires_at is not None:
            end = min(end, token.expires_at)
        session = Session(secrets.token_urlsafe(24), person, end)
        said = [session.id, *(person or (None, None)), end]
        return session, self.signed(json.dumps(said, separators=(",", ":")))

    def read(self, cookie: str, now_s: float) -> Session | None:
        """The session in a cookie; ``None`` where it is not one of ours or is over."""
        text = self.opened(cookie)
        if text is None:
            return None
        try:
            identity, name, role, end = json.loads(text)
            session = Session(str(identity), None if name is None else Person(str(name), Role(role)), float(end))
        except (ValueError, TypeError):
            return None
        return session if math.isfinite(session.expires_at) and now_s < session.expires_at else None

    def signed(self, text: str) -> str:
        """``text`` with a signature, in characters that a cookie may have."""
        payload = _encoded(text.encode())
        return f"{payload}.{self._signature(payload)}"

    def opened(self, signed: str) -> str | None:
        """What ``signed`` returned, as text again; ``None`` where its signature is not ours."""
        payload, _, signature = signed.rpartition(".")
        if len(signed) > _LONGEST_COOKIE or not signed.isascii() or len(signature) != _SIGNATURE_CHARACTERS:
            return None
        if not hmac.compare_digest(signature, self._signature(payload)):
            return None
        try:
            return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None

    def _signature(self, payload: str) -> str:
        return _encoded(hmac.new(self._key, b"cookie\0" + payload.encode(), hashlib.sha256).digest())


class Tokens:
    """The tokens of ``faust.yml``."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = [(_digest(each.token.get_secret_value()), each) for each in tokens]

    def find(self, given: str, now_s: float) -> Token:
        """The token that ``given`` is; takes as long whichever it is.

        Raises ``SignInError`` where there is none such or it is expired.
        """
        digest, found = _digest(given), None
        for known, token in self._tokens:
            if hmac.compare_digest(digest, known):
                found = token
        if found is None:
            raise SignInError("this token is not known; ask whoever runs the workers for one")
        if found.expires_at is not None and now_s >= found.expires_at:
            raise SignInError("this token is expired; ask whoever runs the workers for a new one")
        return found


def bearer(authorization: str) -> str | None:
    """The token in a header ``Authorization: Bearer TOKEN``; ``None`` where it is another kind of header or empty."""
    scheme, _, token = authorization.strip().partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def is_trusted(peer: str, proxy: Proxy | None) -> bool:
    """Whether a connection from the address ``peer`` is the reverse proxy's."""
    if proxy is None:
        return False
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in proxy.networks)


def vouched(proxy: Proxy, headers: Mapping[str, Sequence[str]]) -> Person | None:
    """Whom the proxy's headers name; ``headers`` are all values by lower-case name. ``None`` where they name nobody.

    Raises ``ForbiddenError`` where a header comes twice, or the person has no role.
    """
    name = _only(headers, proxy.user_header)
    if not name:
        return None
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ForbiddenError(f"{proxy.user_header}: is no name of 1 to {LONGEST_NAME} printable characters")
    roles = []
    word = _only(headers, proxy.role_header).lower()
    if word:
        if word not in set(Role):
            raise ForbiddenError(f"{proxy.role_header}: {word[:40]!r} is no role; roles are {', '.join(Role)}")
        roles.append(Role(word))
    groups = {part.strip() for part in _only(headers, proxy.groups_header).split(",")}
    roles += [role for group, role in proxy.groups.items() if group in groups]
    if not roles and proxy.default_role is not None:
        roles.append(proxy.default_role)
    if not roles:
        raise ForbiddenError(f"{name} has no role here; ask whoever runs the workers")
    return Person(name, max(roles, key=list(Role).index))


def as_lists(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Headers as all values by lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), []).append(value)
    return found


def client_address(peer: str, forwarded_for: str, proxy: Proxy | None) -> str:
    """The address that a request comes from: the last one in ``X-Forwarded-For`` that is not the proxy's own.

    Only a trusted ``peer`` is believed; whatever else is in the header may be made up.
    """
    if not is_trusted(peer, proxy):
        return peer
    for part in reversed(forwarded_for.split(",")):
        address = part.strip()
        try:
            ip_address(address)
        except ValueError:
            break
        if not is_trusted(address, proxy):
            return address
    return peer


def _only(headers: Mapping[str, Sequence[str]], name: str | None) -> str:
    values = [] if name is None else headers.get(name.lower(), [])
    if len(values) > 1:
        raise ForbiddenError(f"{name}: comes more than once; the proxy must replace what comes in")
    return values[0].strip() if values else ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
