"""What every receiver answers to whoever looks at it: its counts, and that it runs."""

import json
from typing import Any

from pipeline.receiver.http_server import Request, response
from pipeline.receiver.tally import Tally


def look(request: Request, tally: Tally) -> bytes | None:
    """The answer to a request for the counts, which ``DELETE`` sets back, or for health; ``None`` to any other."""
    match (request.method, request.path.partition("?")[0]):
        case ("GET", "/stats"):
            return json_response(200, tally.stats())
        case ("DELETE", "/stats"):
            tally.clear()
            return json_response(200, tally.stats())
        case ("GET", "/health"):
            return json_response(200, {"status": "ok"})
        case _:
            return None


def json_response(status: int, content: dict[str, Any]) -> bytes:
    """A whole answer, readable as it stands."""
    return response(status, json.dumps(content, indent=1).encode() + b"\n", content_type="application/json")


def bracketed(host: str) -> str:
    """``host`` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
