"""Files that pages need: read once, kept in memory, under a URL that changes with their content."""

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

import pipeline.view
from pipeline.errors import NotFoundError

FOLDER: Final = Path(pipeline.view.__file__).parent / "static"
PREFIX: Final = "/static/"
_FOR_A_YEAR: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".css": "text/css"}
_LEAST_PACKED_BYTES: Final = 1024


class _File(NamedTuple):
    body: bytes
    packed: bytes | None
    content_type: str


class StaticFiles:
    """All files of a folder. One hash stands for all, so that they can name each other by relative paths."""

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        digest = hashlib.sha256()
        self._files: dict[str, _File] = {}
        for path in paths:
            name, body = path.relative_to(folder).as_posix(), path.read_bytes()
            digest.update(name.encode() + b"\0" + hashlib.sha256(body).digest())
            guessed = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
            packed = gzip.compress(body, 9, mtime=0) if len(body) >= _LEAST_PACKED_BYTES else None
            self._files[name] = _File(body, packed if packed and len(packed) < len(body) else None, guessed)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Where the file is, within the view. Raises ``KeyError`` where there is none: a template is wrong then."""
        if name not in self._files:
            raise KeyError(f"there is no static file {name!r}")
        return f"{PREFIX}{self.version}/{name}"

    def mount(self, web_app: web.Application) -> None:
        """Serve them."""
        web_app.router.add_get(PREFIX + "{version:[0-9a-f]{12}}/{name:.+}", self._answer)
        web_app.router.add_get("/favicon.ico", self._icon)

    async def _answer(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise NotFoundError("there is no such file")
        # A page of another version, from before an upgrade, gets what there is now, and keeps it for this once.
        is_current = request.match_info["version"] == self.version
        headers = {"Cache-Control": _FOR_A_YEAR if is_current else "no-cache", "Vary": "Accept-Encoding"}
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = file.packed
        charset = "utf-8" if file.content_type.startswith(("text/", "image/svg")) else None
        return web.Response(body=body, content_type=file.content_type, charset=charset, headers=headers)

    async def _icon(self, _request: web.Request) -> web.Response:
        icon = self._files.get("favicon.svg")
        if icon is None:
            return web.Response(status=204, headers={"Cache-Control": "max-age=86400"})
        return web.Response(body=icon.body, content_type=icon.content_type, headers={"Cache-Control": "max-age=86400"})
