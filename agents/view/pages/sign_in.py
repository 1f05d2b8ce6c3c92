"""The page where people sign in with their token, and signing out."""

from aiohttp import web

from agents.view.bodies import FORM, read_body, read_form
from agents.view.gate import Guest
from agents.view.server import SIGN_IN, View
from pipeline.errors import SignInError, TooManyTriesError, UnusableBodyError
from pipeline.view import csrf
from pipeline.view.page import Page
from pipeline.view.throttle import retry_after

SIGN_OUT = "/sign-out"
_MOST_BODY_BYTES = 64 << 10


class SignInPages:
    """Signing in and out. The one part of the view that whoever is not signed in can reach."""

    def __init__(self, view: View) -> None:
        self._view = view

    def register(self) -> None:
        """Add the pages to the view."""
        self._view.raw("GET", SIGN_IN, self.show)
        self._view.raw("POST", SIGN_IN, self.sign_in)
        self._view.raw("POST", SIGN_OUT, self.sign_out)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The form."""
        return await self._form(request, request.query.get("next", ""))

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Check the token and begin a session."""
        form = await self._read(request)
        following = form.get("next", "")
        try:
            token = self._view.gate.token(request, form.get("token", "").strip())
        except TooManyTriesError as error:
            headers = {"Retry-After": retry_after(error.wait_s)}
            return await self._form(request, following, str(error), error.status, headers)
        except SignInError as error:
            return await self._form(request, following, str(error), error.status)
        response = web.Response(status=303, headers={"Location": self._inside(following)})
        self._view.gate.begin(request, response, token)
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session of this browser."""
        await self._read(request)
        response = web.Response(status=303, headers={"Location": f"{self._view.settings.prefix}{SIGN_IN}"})
        self._view.gate.end(request, response)
        return response

    async def _read(self, request: web.Request) -> dict[str, str]:
        if request.content_type != FORM:
            raise UnusableBodyError(
                "send the form of the page; programs send Authorization: Bearer instead", status=415
            )
        form = dict(read_form(await read_body(request, _MOST_BODY_BYTES)))
        self._view.gate.check_change(request, None, form.get(csrf.FIELD, ""))
        return form

    async def _form(
        self,
        request: web.Request,
        following: str,
        problem: str = "",
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        session = self._view.gate.session(request)
        is_signed_in = session is not None and session.person is not None and bool(self._view.settings.tokens)
        guest = Guest(session.person, session, "session") if is_signed_in else None  # type: ignore[union-attr,arg-type]
        context = {
            "next": following,
            "problem": problem,
            "has_tokens": bool(self._view.settings.tokens),
            "needs_sign_in": self._view.settings.needs_sign_in,
        }
        return await self._view.html(
            request, Page("Sign in", "sign_in.html", context=context, status=status), guest, headers
        )

    def _inside(self, following: str) -> str:
        """Where to go after signing in: only a path of this view."""
        is_path = following.startswith("/") and not following.startswith(("//", "/\\")) and following.isprintable()
        return self._view.settings.prefix + (following if is_path and "\\" not in following else "/")
