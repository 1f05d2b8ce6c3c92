"""Serves the view: pages in three formats, acts, JSON APIs and events, each behind the same checks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import structlog
from aiohttp import ClientError, web

from agents.view import answers
from agents.view.bodies import FORM, read_body, read_form
from agents.view.gate import Gate, Guest
from agents.view.listening import tell_all
from agents.view.static import StaticFiles
from agents.view.visit import Content, Done, Visit
from pipeline.clock import Clock
from pipeline.errors import (
    ForbiddenError,
    NotFoundError,
    SignInError,
    UnavailableError,
    UnusableBodyError,
    ViewError,
    ViewQueryError,
)
from pipeline.view import csrf
from pipeline.view.formats import events as sse
from pipeline.view.formats.html import Around, twin_path
from pipeline.view.page import Page
from pipeline.view.query import tidied
from pipeline.view.roles import Role
from pipeline.view.settings import ViewSettings

__all__ = ["Content", "Done", "Route", "View", "Visit"]

log = structlog.get_logger(__name__)

MOST_PARAMETERS: Final = 200
MOST_LISTENERS: Final = 200
SIGN_IN: Final = "/sign-in"
PEERS: Final = "/-/"
BEGIN_AFTER_S: Final = 0.02
"""How long a page may take before its beginning is sent ahead of it."""

Format = Literal["html", "json", "csv"]
PageHandler = Callable[[Visit], Awaitable[Page]]
Acted = Page | Done | Content
ActHandler = Callable[[Visit], Awaitable[Acted]]
EventsHandler = Callable[[Visit], AsyncIterator[sse.Told]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """Something that is served; ``kind`` is ``page``, ``act``, ``api`` or ``events``. For the list of pages and for OpenAPI."""

    kind: str
    method: str
    path: str
    role: Role
    handler: Callable[..., Any]
    title: str = ""


class View:
    """What is served on one worker. Register everything, then ``mount`` it."""

    def __init__(self, settings: ViewSettings, app: str, clock: Clock, bind: Callable[[], str]) -> None:
        self.settings = settings
        self.gate = Gate(settings, app, clock)
        self.static = StaticFiles()
        self.routes: list[Route] = []
        self._clock = clock
        self._bind = bind
        self._added: list[tuple[str, str, Answer]] = []
        self._nav: list[tuple[str, str, Role]] = []
        self._acts: set[asyncio.Task[Acted]] = set()
        self._listeners: set[asyncio.Task[Any]] = set()

    # what is registered

    def page(self, path: str, handler: PageHandler, *, role: Role = Role.VIEWER, nav: str | None = None) -> None:
        """Serve ``path``, and ``path.json`` and ``path.csv`` (of ``/``: ``/index.json``); ``{name}`` matches one step.

        ``nav`` is its title in the navigation, in the order of registration. A step that itself ends in ``.json`` is had
        with ``.html`` behind it, which ``url_for`` adds.
        """
        self.routes.append(Route("page", "GET", path, role, handler, nav or ""))
        if nav is not None:
            self._nav.append((nav, path, role))

        def served_as(form: Format) -> Answer:
            async def answer(request: web.Request) -> web.StreamResponse:
                return await self._page(request, handler, role, form)

            return answer

        for extension in ("json", "csv", "html"):
            self._added.append(("GET", twin_path(path, extension), served_as(extension)))  # type: ignore[arg-type]
        self._added.append(("GET", path, served_as("html")))

    def action(
        self, path: str, handler: ActHandler, role: Role = Role.OPERATOR, *, methods: tuple[str, ...] = ("POST",)
    ) -> None:
        """Serve an act: a form with its CSRF token, answered with a redirection, or JSON with a bearer token."""
        self._act("act", path, handler, role, methods)

    def api(self, method: str, path: str, handler: ActHandler, role: Role = Role.VIEWER) -> None:
        """Serve a part of the JSON API: no redirections and no HTML, whatever comes."""
        self._act("api", path, handler, role, (method,))

    def events(self, path: str, handler: EventsHandler, role: Role = Role.VIEWER) -> None:
        """Serve server-sent events for as long as the handler makes some and the reader listens."""
        self.routes.append(Route("events", "GET", path, role, handler))

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._events(request, handler, role)

        self._added.append(("GET", path, answer))

    def raw(self, method: str, path: str, answer: Answer) -> None:
        """Serve what has its own ways, such as signing in: nobody needs to be signed in for it."""
        self._added.append((method, path, answer))

    def mount(self, web_app: web.Application) -> None:
        """Put everything on the worker's web server; before it starts."""
        web_app.middlewares.append(self._around_all)
        web_app.on_shutdown.append(self._end_listeners)
        self.static.mount(web_app)
        for method, path, answer in self._added:
            web_app.router.add_route(method, _pattern(path), answer)
            if method == "GET":
                web_app.router.add_route("HEAD", _pattern(path), answer)

    # what goes around every request

    @web.middleware
    async def _around_all(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        try:
            return await (handler(request) if request.path.startswith(PEERS) else self._checked(request, handler))
        except ConnectionError:
            # The reader went away before the answer began. The server finds that out by itself, and sends nothing.
            return web.Response(status=UnavailableError.status)

    async def _checked(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        try:
            self.gate.check_host(request, self._bind())
            self.gate.check_path(request)
            return await handler(request)
        except ViewError as error:
            return await self._error(request, error)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            refused = ViewError(f"{request.method} is not possible here; {allowed} is")
            refused.status = error.status
            return await self._error(request, refused, {"Allow": allowed})
        except web.HTTPException as error:
            if error.status < web.HTTPBadRequest.status_code:
                raise
            refused = (
                NotFoundError("there is no such page")
                if error.status == NotFoundError.status
                else ViewError(error.reason)
            )
            refused.status = error.status
            return await self._error(request, refused)
        except ConnectionError:
            raise
        except Exception:
            # One page with a mistake in it must not be a blank one, nor anything to the worker.
            log.exception("a page failed", path=request.path)
            return await self._error(request, ViewError("this page failed; the worker's log says why"))

    async def _error(
        self, request: web.Request, error: ViewError, more_headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        form = _form_of_error(request)
        headers = {**answers.headers_of(error), **(more_headers or {})}
        if form == "json":
            return answers.error_as_json(error, headers)
        if form == "csv":
            return answers.error_as_text(error, headers)
        if isinstance(error, SignInError) and request.method in csrf.SAFE_METHODS and request.path != SIGN_IN:
            around = Around(path=SIGN_IN, now_s=0.0, prefix=self.settings.prefix)
            return web.Response(
                status=303, headers={"Location": around.url_for(SIGN_IN, next=request.rel_url.raw_path_qs)}
            )
        page = answers.error_page(error)
        return await self.html(request, page, self._guest_or_none(request), headers, begins_session=False)

    def _guest_or_none(self, request: web.Request) -> Guest | None:
        if "Authorization" in request.headers:
            return None  # that would count as one more try
        try:
            return self.gate.guest(request)
        except ViewError:
            return None

    # pages

    async def _page(self, request: web.Request, handler: PageHandler, role: Role, form: Format) -> web.StreamResponse:
        guest = self.gate.guest(request)
        self.gate.check_role(guest, role)
        visit = self._visit(request, guest, form)
        if (form == "csv" or visit.is_export) and guest.person.role not in self.settings.exports:
            raise ForbiddenError(f"{guest.person.role.value}s may not export; view.exports in faust.yml says who may")
        if form == "html" and visit.is_export:
            raise ViewQueryError("size=all is for .json and .csv: a page of HTML shows at most 1000 rows")
        if form == "html":
            return await self._page_for_people(request, visit, handler, guest)
        page = await handler(visit)
        answers.check_columns(page, visit.parameters)
        if form == "json":
            return await answers.page_as_json(request, page, visit.now_s)
        return await answers.page_as_csv(request, page, dict(visit.parameters), _file_name(request.path))

    async def _page_for_people(
        self, request: web.Request, visit: Visit, handler: PageHandler, guest: Guest
    ) -> web.StreamResponse:
        """A page that takes long is begun once its status is known: it is promised, or nothing particular was asked."""
        if not visit.match and not visit.parameters:
            visit.promise()
        page = asyncio.ensure_future(handler(visit))
        promised = asyncio.ensure_future(visit.promised.wait())
        try:
            await asyncio.wait([page], timeout=BEGIN_AFTER_S)
            if not page.done() and not visit.parameter(
                "cols"
            ):  # whether it has these columns is known when it is there
                await asyncio.wait([page, promised], return_when=asyncio.FIRST_COMPLETED)
                if not page.done():
                    response = web.StreamResponse()
                    around = self._around(request, guest, response)
                    return await answers.begun_page_as_html(request, page, around, response)
            found = await page
            answers.check_columns(found, visit.parameters)
            return await self.html(request, found, guest)
        finally:
            page.cancel()
            promised.cancel()

    async def html(
        self,
        request: web.Request,
        page: Page,
        guest: Guest | None,
        headers: Mapping[str, str] | None = None,
        *,
        begins_session: bool = True,
    ) -> web.StreamResponse:
        """A page for people, with a session for its forms where the browser has none yet."""
        response = web.StreamResponse(headers=headers)
        around = self._around(request, guest, response, begins_session=begins_session)
        return await answers.page_as_html(request, page, around, response)

    def _around(
        self, request: web.Request, guest: Guest | None, response: web.StreamResponse, *, begins_session: bool = True
    ) -> Around:
        """What is around a page; ``response`` gets the cookies."""
        session = guest.session if guest is not None else self.gate.session(request)
        if session is None and begins_session and (guest is None or not guest.is_machine):
            session = self.gate.begin(request, response)
        flash = self.gate.told(request)
        if flash:
            self.gate.forget(request, response)
        person = None if guest is None else guest.person
        return Around(
            path=request.rel_url.raw_path,  # as it was quoted: a name may hold a slash
            now_s=self._clock.wall_s(),
            person=person,
            is_signed_in=guest is not None and guest.by == "session",
            prefix=self.settings.prefix,
            parameters=tidied(request.query.items()),
            csrf_token="" if session is None else self.gate.csrf_token(session),
            flash=flash,
            nav=[(title, path) for title, path, role in self._nav if person is not None and person.role.includes(role)],
            saved_views=[(each.title, each.path) for each in self.settings.views] if person is not None else [],
            static=self.static.url,
        )

    # acts

    def _act(self, kind: str, path: str, handler: ActHandler, role: Role, methods: tuple[str, ...]) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._acted(request, handler, role, is_api=kind == "api")

        for method in methods:
            self.routes.append(Route(kind, method, path, role, handler))
            self._added.append((method, path, answer))

    async def _acted(
        self, request: web.Request, handler: ActHandler, role: Role, *, is_api: bool
    ) -> web.StreamResponse:
        guest = self.gate.guest(request)
        self.gate.check_role(guest, role)
        visit = self._visit(request, guest, "json" if is_api or _wants_json(request) else "html")
        if request.method not in csrf.SAFE_METHODS:
            await self._read_body(request, visit)
            given = visit.form.pop(csrf.FIELD, "") or request.headers.get(csrf.HEADER, "")
            visit.form_pairs = [pair for pair in visit.form_pairs if pair[0] != csrf.FIELD]
            self.gate.check_change(request, guest, given)
        acted = await self._to_its_end(handler(visit), request)
        match acted:
            case Content():
                return await answers.content(request, acted)
            case Done() if visit.format == "json":
                return answers.done_as_json(acted)
            case Done():
                response = web.Response(status=303, headers={"Location": acted.location or self._back(request)})
                self.gate.tell(request, response, acted.message)
                return response
            case Page() if visit.format == "json":
                return await answers.page_as_json(request, acted, visit.now_s)
        return await self.html(request, acted, guest)

    async def _to_its_end(self, act: Awaitable[Acted], request: web.Request) -> Acted:
        """A reader who goes away does not leave an act half done."""
        if request.method in csrf.SAFE_METHODS:
            return await act
        task = asyncio.ensure_future(act)
        self._acts.add(task)
        task.add_done_callback(self._act_ended)
        return await asyncio.shield(task)

    def _act_ended(self, task: asyncio.Task[Acted]) -> None:
        self._acts.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("an act was refused", error=str(error))

    def _back(self, request: web.Request) -> str:
        """The page that the form was on: the address of its own host alone is believed, and of that the path."""
        prefix = self.settings.prefix
        _, _, rest = request.headers.get("Referer", "").partition("://")
        host, slash, path = rest.partition("/")
        is_ours = host.lower() == request.headers.get("Host", "").lower() and not path.startswith(("/", "\\"))
        return slash + path if slash and is_ours and (slash + path).startswith(f"{prefix}/") else f"{prefix}/"

    # events

    async def _events(self, request: web.Request, handler: EventsHandler, role: Role) -> web.StreamResponse:
        guest = self.gate.guest(request)
        self.gate.check_role(guest, role)
        if len(self._listeners) >= MOST_LISTENERS:
            raise UnavailableError(f"{MOST_LISTENERS} pages listen to this worker already; pause one of them")
        visit = self._visit(request, guest, "json")
        end_s = guest.session.expires_at if guest.by == "session" and guest.session is not None else None
        left_s = None if end_s is None else max(0.0, end_s - visit.now_s)
        task = asyncio.current_task()
        assert task is not None
        self._listeners.add(task)
        response = web.StreamResponse(headers={"Content-Type": sse.CONTENT_TYPE, "X-Accel-Buffering": "no"})
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await response.write(sse.RETRY)
                async with asyncio.timeout(left_s):
                    await tell_all(response, handler(visit))
        except (ConnectionError, ClientError, TimeoutError):
            pass  # the reader went away, or the session is over
        except ViewError as error:
            await response.write(sse.told(sse.Told({"error": str(error), "status": error.status}, "error")))
        finally:
            self._listeners.discard(task)
        return response

    async def _end_listeners(self, _app: web.Application) -> None:
        for task in list(self._listeners):
            task.cancel()

    # requests

    def _visit(self, request: web.Request, guest: Guest, form: Format) -> Visit:
        parameters = tidied(request.query.items())
        if len(parameters) > MOST_PARAMETERS:
            raise ViewQueryError(f"more than {MOST_PARAMETERS} parameters")
        return Visit(
            match=dict(request.match_info),
            parameters=parameters,
            person=guest.person,
            masks=self.settings.masks(guest.person.role),
            now_s=self._clock.wall_s(),
            headers={name.lower(): value for name, value in request.headers.items()},
            format=form,
            path=request.path,
            prefix=self.settings.prefix,
            address=self.gate.address(request),
        )

    async def _read_body(self, request: web.Request, visit: Visit) -> None:
        visit.body = await read_body(request)
        if request.content_type == FORM:
            visit.form_pairs = read_form(visit.body)
            visit.form = dict(visit.form_pairs)
        elif request.content_type == "multipart/form-data":
            raise UnusableBodyError(f"send forms as {FORM}", status=415)


def _pattern(path: str) -> str:
    return path.replace("}", ":[^/]+}") if "{" in path and ":" not in path else path


def _file_name(path: str) -> str:
    return path.removesuffix(".csv").strip("/").replace("/", "-") or "distributary"


def _wants_json(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return (
        request.content_type == "application/json"
        or "Authorization" in request.headers
        or ("application/json" in accepted and "text/html" not in accepted)
    )


def _form_of_error(request: web.Request) -> Format:
    if request.path.endswith(".csv"):
        return "csv"
    is_api = request.path.endswith(".json") or request.path.startswith(("/api/", "/health", "/metrics"))
    return "json" if is_api or _wants_json(request) else "html"
