"""Where a redirect leads, in words that give no secret away."""

from typing import Final

from yarl import URL

ITSELF: Final = "itself"
"""A redirect to where the request went, which no change of the URL can follow."""


def destination_of(url: URL, location: str | None) -> str:  # noqa: PLR0911  one return a place
    """Say where an answer to a request to ``url`` points with its ``Location`` header; empty where it does not say.

    Names scheme, host and port, but neither path nor query, which may hold a customer's secret.
    """
    if not location:
        return ""
    try:
        goal = url.join(URL(location))
        host, port, scheme = goal.host, goal.port, goal.scheme
    except ValueError:
        return "an address that is none"
    if scheme not in {"http", "https"} or not host:
        return "an address that is none"
    if (host, goal.path_qs) == (url.host, url.path_qs) and (url.scheme, scheme) == ("http", "https"):
        return "the same place by https://"
    if (scheme, host, port) != (url.scheme, url.host, url.port):
        return f"{scheme}://{goal.host_subcomponent}" + (f":{port}" if goal.explicit_port else "")
    if goal.path_qs == url.path_qs:
        return ITSELF
    if goal.path == f"{url.path}/" and goal.query_string == url.query_string:
        return "the same path with a / at its end"
    return "another path on the same host"
