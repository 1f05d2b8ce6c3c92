"""Who a request comes from, and whether it may come at all: before any handler sees it."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from yarl import URL

from pipeline.clock import Clock
from pipeline.errors import ForbiddenError, MisdirectedError, SignInError, TooManyTriesError, ViewQueryError
from pipeline.view import csrf
from pipeline.view.roles import ANYBODY, Person, Role
from pipeline.view.settings import LOOPBACK_NAMES, Token, ViewSettings, is_loopback
from pipeline.view.sign_in import (
    SESSION_COOKIE,
    Session,
    Sessions,
    Tokens,
    as_lists,
    bearer,
    client_address,
    is_trusted,
    session_key,
    vouched,
)
from pipeline.view.throttle import FailureThrottle

LONGEST_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is there: ``session`` is the one the browser's cookie holds, ``by`` how the person is known."""

    person: Person
    session: Session | None
    by: str  # token, session, proxy, nobody

    @property
    def is_machine(self) -> bool:
        """Whether no browser could have sent this by itself."""
        return self.by == "token"


class Gate:
    """Sign-in, sessions, CSRF, hosts: every check that is the same for all pages."""

    def __init__(self, settings: ViewSettings, app: str, clock: Clock) -> None:
        key = session_key(settings, app)
        self.settings = settings
        self.sessions = Sessions(key)
        self._key = key
        self._clock = clock
        self._tokens = Tokens(settings.tokens)
        self._throttle = FailureThrottle()
        self._names = LOOPBACK_NAMES | {each.lower() for each in (settings.host, *settings.names)}
        if settings.advertised_host is not None:
            self._names |= {settings.advertised_host.lower()}
        self._cookie = f"{SESSION_COOKIE}_{app}"

    # where it comes from

    def peer(self, request: web.Request) -> str:
        """The address that the connection is from; empty for one that has none."""
        name = request.transport.get_extra_info("peername") if request.transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    def is_behind_proxy(self, request: web.Request) -> bool:
        """Whether the proxy that the settings name has sent it."""
        return is_trusted(self.peer(request), self.settings.proxy)

    def address(self, request: web.Request) -> str:
        """The client's address."""
        return client_address(self.peer(request), request.headers.get("X-Forwarded-For", ""), self.settings.proxy)

    def is_encrypted(self, request: web.Request) -> bool:
        """Whether the browser speaks HTTPS, here or with the proxy."""
        forwarded = request.headers.get("X-Forwarded-Proto", "") if self.is_behind_proxy(request) else ""
        return request.secure or forwarded.strip().lower() == "https"

    def check_host(self, request: web.Request, bind: str) -> None:
        """Raise ``MisdirectedError`` where the browser thinks that this is some other host.

        A page of another site whose name is made to stand for this address would have its own name in ``Host``.
        """
        if not is_loopback(bind) and not self.settings.names:
            return
        if len(request.headers.getall("Host", [])) != 1:
            raise ViewQueryError("the header Host must come once")
        host = _host_of(request.headers["Host"])
        if host not in self._names and host != bind.lower():
            raise MisdirectedError(
                f"this is not {host[:100]!r}; where it is meant to be reached by that name, add it to view.names in faust.yml"
            )

    def check_path(self, request: web.Request) -> None:
        """Raise ``ViewQueryError`` for a path that no link of ours has."""
        path = request.path
        if "\0" in path or "\\" in path or any(step in {".", ".."} for step in path.split("/")):
            raise ViewQueryError("the path is none of this view's")
        if any(len(step) > LONGEST_STEP for step in path.split("/")):
            raise ViewQueryError(f"a part of the path is longer than {LONGEST_STEP} characters")

    # who it is

    def guest(self, request: web.Request) -> Guest:
        """Who is there.

        Raises ``SignInError`` where nobody is signed in, ``ForbiddenError`` where the proxy gives no role or was gone round,
        ``TooManyTriesError`` where too many tokens were wrong.
        """
        settings = self.settings
        session = self.session(request)
        if settings.proxy is not None and settings.proxy.user_header is not None:
            if self.is_behind_proxy(request):
                person = vouched(settings.proxy, as_lists(request.headers.items()))
                if person is not None:
                    return Guest(person, session, "proxy")
            elif settings.proxy.user_header in request.headers:
                raise ForbiddenError(
                    f"{settings.proxy.user_header} is believed only from view.proxy.networks, "
                    f"and {self.peer(request)} is in none of them"
                )
        given = bearer(request.headers.get("Authorization", "")) if settings.tokens else None
        if given is not None:
            token = self.token(request, given)
            return Guest(Person(token.name, token.role), session, "token")
        if session is not None and session.person is not None and settings.tokens:
            return Guest(session.person, session, "session")
        if not settings.needs_sign_in:
            return Guest(ANYBODY, session, "nobody")
        if not settings.tokens and not self.is_behind_proxy(request):
            raise ForbiddenError("the view is reached by way of its proxy; open the address that the proxy has")
        if not settings.tokens and settings.proxy is not None:
            raise SignInError(f"the proxy did not say who this is: it must set {settings.proxy.user_header}")
        raise SignInError("sign in first: with a token as Authorization: Bearer, or in a browser at /sign-in")

    def token(self, request: web.Request, given: str) -> Token:
        """Check a token; counts failures. Raises ``SignInError`` or ``TooManyTriesError``."""
        client, now_s = self.address(request), self._clock.monotonic_s()
        wait_s = self._throttle.wait_s(client, now_s)
        if wait_s > 0:
            raise TooManyTriesError(wait_s)
        try:
            token = self._tokens.find(given, self._clock.wall_s())
        except SignInError:
            self._throttle.failed(client, now_s)
            raise
        self._throttle.succeeded(client)
        return token

    def check_role(self, guest: Guest, role: Role) -> None:
        """Raise ``ForbiddenError`` where it takes another role."""
        if not guest.person.role.includes(role):
            raise ForbiddenError(f"this takes the role {role.value}; {guest.person.name} is {guest.person.role.value}")

    # sessions

    def session(self, request: web.Request) -> Session | None:
        """The session that the request's cookie holds, if it is ours and not over."""
        cookie = request.cookies.get(self._cookie, "")
        return self.sessions.read(cookie, self._clock.wall_s()) if cookie else None

    def begin(self, request: web.Request, response: web.StreamResponse, token: Token | None = None) -> Session:
        """Give the browser a new session: of the token's person, or of nobody, which forms need too."""
        now_s = self._clock.wall_s()
        person = None if token is None else Person(token.name, token.role)
        session, value = self.sessions.begin(now_s, person, token)
        self._set(request, response, self._cookie, value, max(1, int(session.expires_at - now_s)))
        return session

    def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """Take the session from the browser."""
        self._set(request, response, self._cookie, "", 0)

    def tell(self, request: web.Request, response: web.StreamResponse, message: str) -> None:
        """Have the next page show ``message``."""
        self._set(request, response, f"{self._cookie}_done", self.sessions.signed(message[:500]), 60)

    def told(self, request: web.Request) -> str:
        """What ``tell`` was given, or nothing."""
        cookie = request.cookies.get(f"{self._cookie}_done", "")
        return (self.sessions.opened(cookie) or "") if cookie else ""

    def forget(self, request: web.Request, response: web.StreamResponse) -> None:
        """The message was shown."""
        self._set(request, response, f"{self._cookie}_done", "", 0)

    def _set(self, request: web.Request, response: web.StreamResponse, name: str, value: str, max_age_s: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=max_age_s,
            path=f"{self.settings.prefix}/",
            httponly=True,
            samesite="Strict",
            secure=self.is_encrypted(request),
        )

    # forms

    def csrf_token(self, session: Session) -> str:
        """The token that forms of this session carry."""
        return csrf.token_of(self._key, session.id)

    def check_change(self, request: web.Request, guest: Guest | None, given: str) -> None:
        """Raise ``ForbiddenError`` where a request that changes something may not have been meant."""
        if guest is not None and guest.is_machine:
            return
        csrf.check_origin(request.headers, self._hosts(request))
        session = guest.session if guest is not None else self.session(request)
        is_program = guest is not None and session is None and guest.by != "session"
        if is_program and not csrf.is_from_a_form(request.method, request.headers.get("Content-Type", "")):
            return  # another site's page cannot send this without asking, and we permit no site to
        csrf.check_token(self._key, "" if session is None else session.id, given)

    def _hosts(self, request: web.Request) -> frozenset[str]:
        hosts = {request.headers.get("Host", "").lower()}
        if self.is_behind_proxy(request):
            hosts |= {part.strip().lower() for part in request.headers.get("X-Forwarded-Host", "").split(",")}
        return frozenset(hosts - {""})


def _host_of(header: str) -> str:
    try:
        return (URL(f"http://{header}").host or "").lower()
    except ValueError:
        return header.lower()
