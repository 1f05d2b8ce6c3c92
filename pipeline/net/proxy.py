"""The proxy that the environment names for requests to customers' endpoints, where the operator asks for it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

_SCHEMES: Final = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy. ``url`` holds no credentials; ``authorization`` is what it is told about who is asking."""

    url: URL
    authorization: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """``host:port``, for people."""
        return f"{self.url.host}:{self.url.port}"

    def headers(self) -> dict[str, str]:
        """The headers for the proxy alone."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}


class EnvironmentProxies:
    """``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in lower or upper case, as they are when it is made.

    Read by the rules of ``urllib.request`` (so ``HTTP_PROXY`` does not count in a CGI program); nothing else of the
    environment is heeded, in particular no ``.netrc``. ``NO_PROXY`` lists names, each with all names below it, or ``*``.
    """

    def __init__(self) -> None:
        self._found: Mapping[str, str] = getproxies_environment()

    def proxy_for(self, url: URL) -> Proxy | None:
        """The proxy for requests to ``url``, ``None`` where they go straight.

        Raises ``ValueError`` where the one that is named cannot be used.
        """
        text = self._found.get(url.scheme) or self._found.get("all")
        if not text or _is_exempt(f"{url.host}:{url.port}", self._found):
            return None
        return _parsed(text, f"{url.scheme}_proxy" if self._found.get(url.scheme) else "all_proxy")


def _is_exempt(place: str, found: Mapping[str, str]) -> bool:
    return bool(proxy_bypass_environment(place, found))


def _parsed(text: str, name: str) -> Proxy:
    # The text is never part of a message: it may hold a password.
    try:
        url = URL(text if "://" in text else f"http://{text}")
        is_usable = url.scheme in _SCHEMES and bool(url.host) and url.port is not None
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(f"the environment's {name} is no URL of the form http://host:port (SOCKS is not supported)")
    authorization = None
    if url.user is not None:
        credentials = f"{url.user}:{url.password or ''}".encode()
        authorization = f"Basic {base64.b64encode(credentials).decode()}"
    return Proxy(url.with_user(None), authorization)
