"""The Chromium that the system has, and a page of it that remembers what went wrong in it."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from playwright.sync_api import ConsoleMessage, Page, Request

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITHIN_MS = 15_000

# Refusals of the content security policy become console lines of the page's own, so that none is missed.
_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
    console.error("refused by the policy: " + event.effectiveDirective + " " + event.blockedURI + " " + event.sample);
});
"""


def chromium_path() -> str | None:
    """Where the browser is: ``DISTRIBUTARY_CHROMIUM``, else the one on the ``PATH``; none where there is none."""
    named = os.environ.get("DISTRIBUTARY_CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Troubles:
    """What a reader would not see, and should not happen: errors of scripts, refused resources, requests elsewhere."""

    own: str
    seen: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, page: Page, own: str) -> Self:
        """Begin to watch a page that should ask nobody but ``own``."""
        troubles = cls(own)
        page.add_init_script(_TELL_VIOLATIONS)
        page.on("console", troubles._on_console)
        page.on("pageerror", lambda error: troubles.seen.append(f"error in a script: {error}"))
        page.on("request", troubles._on_request)
        return troubles

    def allow(self, *parts: str) -> None:
        """Console lines with one of these parts belong to the story, such as a refusal that it provokes."""
        self.allowed += parts

    def all(self) -> list[str]:
        """What was not allowed."""
        return [each for each in self.seen if not any(part in each for part in self.allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.seen.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.own, "data:", "blob:")):
            self.seen.append(f"asked another host: {request.url}")
