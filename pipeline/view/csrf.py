"""Whether a request that changes something was meant by the person whose browser sends it.

Two things must hold. The browser must say that the request comes from a page of this view (``Sec-Fetch-Site``, or ``Origin``
where that is missing); and it must carry a token that only such a page could read, bound to the session. A request with a
bearer token needs neither: no browser adds that by itself.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pipeline.errors import ForbiddenError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FIELD: Final = "csrf_token"
HEADER: Final = "X-CSRF-Token"
_FORM_TYPES: Final = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def token_of(key: bytes, session: str) -> str:
    """The token of a session, the same for as long as the session lasts."""
    return hmac.new(key, b"csrf\0" + session.encode(), hashlib.sha256).hexdigest()[:40]


def check_origin(headers: Mapping[str, str], hosts: frozenset[str]) -> None:
    """Raise ``ForbiddenError`` where the browser says that another site sends the request.

    ``hosts`` are the values of ``Host`` that this view has for the person: the request's own and, behind a proxy, the one that
    the proxy was asked for. Programs that are no browsers send neither header, and pass.
    """
    site = headers.get("Sec-Fetch-Site")
    origin = headers.get("Origin")
    if site is not None and site not in {"same-origin", "none"}:
        raise ForbiddenError("this request was sent by a page of another site; open the view itself and try there")
    if origin is None:
        return
    # A page with `Referrer-Policy: no-referrer` has the origin "null" in its own forms; fetch metadata then tells.
    if origin == "null":
        if site != "same-origin":
            raise ForbiddenError("this request does not say which site sent it; open the view itself and try there")
    elif urlsplit(origin).netloc.lower() not in hosts:
        raise ForbiddenError(
            f"this request was sent by a page of {origin[:100]!r}; behind a proxy, the proxy must pass Host on, "
            "or X-Forwarded-Host from a network in view.proxy.networks"
        )


def is_from_a_form(method: str, content_type: str) -> bool:
    """Whether a page of another site could send this without asking first: a POST with the type of a form, or none."""
    return method == "POST" and content_type.partition(";")[0].strip().lower() in _FORM_TYPES


def check_token(key: bytes, session: str, given: str) -> None:
    """Raise ``ForbiddenError`` where ``given`` is not the token of ``session``."""
    wanted = token_of(key, session)
    if not session or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "surrogatepass")):
        raise ForbiddenError(
            "the form is too old or cookies are blocked: open the page again, then send it; a program sends "
            "Content-Type: application/json; nothing was changed"
        )
