"""Pages, acts and errors as HTTP answers, in the format that was asked for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import structlog
from aiohttp import ClientError, web

from agents.view.visit import Content, Done
from pipeline.errors import (
    InvalidChangeError,
    SignInError,
    TooManyTriesError,
    UnavailableError,
    ViewError,
    ViewQueryError,
)
from pipeline.view.formats import csv, html, json
from pipeline.view.formats.text import inert
from pipeline.view.page import Page
from pipeline.view.throttle import retry_after

log = structlog.get_logger(__name__)

WRITE_S: Final = 60.0
"""How long a reader may take nothing before it is given up."""


async def page_as_json(request: web.Request, page: Page, now_s: float) -> web.StreamResponse:
    """The page for programs."""
    return await streamed(request, json.stream(page, now_s), json.CONTENT_TYPE, status=page.status)


async def page_as_csv(request: web.Request, page: Page, parameters: Mapping[str, str], name: str) -> web.StreamResponse:
    """One section of the page for spreadsheets, as a file."""
    section = csv.chosen(page, parameters.get("section", ""))
    status = page.status
    if status == web.HTTPOk.status_code:
        status = csv.status_of(section, accepts_partial=parameters.get("partial") == "ok")
    headers = {"Content-Disposition": disposition(f"{name}.csv")}
    return await streamed(request, csv.stream(section), csv.CONTENT_TYPE, status=status, headers=headers)


def check_columns(page: Page, parameters: Sequence[tuple[str, str]]) -> None:
    """Raise ``ViewQueryError`` where ``cols=`` names a column that no table of the page has."""
    known = list(dict.fromkeys(column.name for section in page.sections for column in section.columns))
    for name in _wanted_columns(parameters):
        if name not in known and known:
            raise ViewQueryError(f"cols: {name[:80]!r} is no column here; there are {', '.join(known)}")


def _wanted_columns(parameters: Sequence[tuple[str, str]]) -> list[str]:
    return [name for key, value in parameters if key == "cols" for name in value.split(",") if name]


async def page_as_html(
    request: web.Request, page: Page, around: html.Around, response: web.StreamResponse | None = None
) -> web.StreamResponse:
    """The page for people; ``response`` may have cookies already."""
    tables = await html.tables_of(page, _wanted_columns(around.parameters))
    texts = html.stream(page, tables, around)
    return await streamed(request, texts, html.CONTENT_TYPE, status=page.status, response=response)


async def begun_page_as_html(
    request: web.Request, page: Awaitable[Page], around: html.Around, response: web.StreamResponse
) -> web.StreamResponse:
    """The page for people whose beginning is sent before it is known. For pages that can only be there: the status is 200."""

    async def pieces() -> AsyncIterator[bytes]:
        yield html.begin(around)
        try:
            found = await page
        except ViewError as error:
            found = error_page(error)
        tables = await html.tables_of(found)
        async for piece in html.stream(found, tables, around, is_begun=True):
            yield piece

    return await streamed(request, pieces(), html.CONTENT_TYPE, response=response)


async def streamed(
    request: web.Request,
    pieces: AsyncIterator[bytes],
    content_type: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    response: web.StreamResponse | None = None,
) -> web.StreamResponse:
    """Send ``pieces`` as they are made, no faster than they are read.

    What goes wrong before the first piece is raised. What goes wrong later breaks the connection off, so that nobody takes
    half an answer for a whole one.
    """
    async with aclosing(pieces) as open_pieces:  # type: ignore[type-var]
        first = await anext(open_pieces, b"")
        response = response or web.StreamResponse()
        response.set_status(status)
        response.headers.update(headers or {})
        response.content_type = content_type
        if content_type.startswith("text/"):
            response.charset = "utf-8"
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await response.write(first)
            async for piece in open_pieces:
                async with asyncio.timeout(WRITE_S):
                    await response.write(piece)
            await response.write_eof()
        except (ConnectionError, ClientError):
            pass  # the reader went away
        except TimeoutError:
            _break_off(request, "the reader takes nothing")
        except ViewError as error:
            _break_off(request, str(error))
        except Exception:
            # The server's own handling would end the answer as if it were whole, or log no path.
            log.exception("an answer broke off", path=request.path)
            _break_off(request, "an error")
    return response


def _break_off(request: web.Request, why: str) -> None:
    log.warning("an answer was broken off", path=request.path, why=why)
    if request.transport is not None:
        request.transport.abort()


async def content(request: web.Request, found: Content) -> web.StreamResponse:
    """Anything that a handler made itself."""
    headers = dict(found.headers)
    if found.filename:
        headers["Content-Disposition"] = disposition(found.filename)
    if not isinstance(found.body, bytes):
        return await streamed(request, found.body, found.content_type, status=found.status, headers=headers)
    response = web.Response(body=found.body, status=found.status, headers=headers)
    response.headers["Content-Type"] = found.content_type
    return response


def done_as_json(done: Done) -> web.Response:
    """What came of an act, for programs."""
    headers = dict(done.headers) | ({"Location": done.location} if done.location else {})
    if done.status == web.HTTPNoContent.status_code:
        return web.Response(status=done.status, headers=headers)
    body = json.encoded({"message": done.message, **done.body})
    return web.Response(body=body + b"\n", status=done.status, content_type=json.CONTENT_TYPE, headers=headers)


def error_as_json(error: ViewError, headers: Mapping[str, str]) -> web.Response:
    """An error, for programs."""
    problems = [{"key": key, "problem": problem} for key, problem in _problems(error)]
    body = json.encoded({"error": str(error), "status": error.status, "problems": problems})
    return web.Response(body=body + b"\n", status=error.status, content_type=json.CONTENT_TYPE, headers=headers)


def error_as_text(error: ViewError, headers: Mapping[str, str]) -> web.Response:
    """An error where CSV was asked for."""
    text = f"# error: {' '.join(inert(str(error)).split())}\n"
    return web.Response(text=text, status=error.status, content_type="text/plain", headers=headers)


def error_page(error: ViewError) -> Page:
    """An error, for people."""
    title = TITLES.get(error.status, "This did not work")
    context = {"message": inert(str(error)), "problems": _problems(error), "status": error.status}
    return Page(title, "error.html", context=context, status=error.status)


TITLES: Final = {
    400: "This address makes no sense",
    401: "Sign in first",
    403: "Not permitted",
    404: "There is nothing here",
    405: "Not done this way",
    409: "It exists already",
    412: "It was changed meanwhile",
    413: "Too large",
    415: "Not this type",
    421: "Another host is meant",
    422: "It cannot be as asked",
    429: "Too many tries",
    503: "Not available just now",
}


def headers_of(error: ViewError) -> dict[str, str]:
    """What goes along with an error."""
    if isinstance(error, TooManyTriesError):
        return {"Retry-After": retry_after(error.wait_s)}
    if isinstance(error, UnavailableError) and error.retry_after_s is not None:
        return {"Retry-After": retry_after(error.retry_after_s)}
    if isinstance(error, SignInError):
        return {"WWW-Authenticate": 'Bearer realm="distributary"'}
    return {}


def disposition(filename: str) -> str:
    """The header that has browsers store a file, with a name that is safe everywhere."""
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "-_.") else "-" for each in filename)
    return f'attachment; filename="{safe.strip(".-")[:100] or "file"}"'


def _problems(error: ViewError) -> list[tuple[str, str]]:
    found: Any = error.problems if isinstance(error, InvalidChangeError) else []
    return [(inert(key), inert(problem)) for key, problem in found]
