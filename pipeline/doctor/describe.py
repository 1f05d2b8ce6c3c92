"""What the probes found, in words: pure functions from findings to steps."""

import errno
import os
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from yarl import URL

from pipeline.doctor.probe import Connection, Lookup
from pipeline.doctor.step import CONNECTION, NAME, TEST_EVENT, State, Step
from pipeline.doctor.target import Target
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch
from pipeline.model.integration import Integration
from pipeline.net.location import ITSELF
from pipeline.net.proxy import Proxy

_SHOWN_ADDRESSES: Final = 2
_QUOTED_CHARS: Final = 160
_FIRST_HTTP_STATUS: Final = 100
_PLAIN_SCHEMES: Final = frozenset({"http", "grpc"})
_BEGIN_WITH_TLS: Final = "let `url` begin with https://"
_ALLOW: Final = (
    "if that is meant, list its network in outbound.allow_networks; otherwise correct url or the name's records"
)

_CREDENTIALS: Final = ("write_key", "auth", "signing", "authorization")
_TOKENLESS: Final = "nothing was sent, for want of an access token"

# An endpoint's HTTP status -> what to do about it.
_ADVICE: Final = {
    400: "the endpoint does not like the request: compare `body` and `fields` with what it expects",
    403: "the credentials are not enough: check what the endpoint lets them do, and whether it only takes certain addresses",
    404: "there is nothing at this path: check the path in `url`",
    405: "this path takes no POST: check the path in `url`",
    406: "the endpoint does not like the request's headers: ask its owner",
    408: "the endpoint gave up waiting for the request: ask its owner whether it is overloaded",
    410: "the endpoint is gone for good: ask its owner for a new `url`, or set enabled: false",
    413: "even one event is too large for the endpoint: ask its owner to take larger requests",
    415: "the endpoint does not like the format: check `body` and `compression`",
    422: "the endpoint does not like the event: compare `body` and `fields` with what it expects",
    429: "the endpoint asks to slow down: deliveries wait and go on; if it stays so, use larger batches",
    502: "a gateway in front of the endpoint cannot reach it: tell its owner",
    503: "the endpoint is overloaded or down for a while: deliveries are retried; tell its owner if it stays so",
    504: "a gateway in front of the endpoint gets no answer from it: tell its owner",
}
_HINTS: Final = {
    Hint.THROTTLED: _ADVICE[429],
    Hint.TOO_LARGE: _ADVICE[413],
    Hint.GONE: _ADVICE[410],
}


def name_step(target: Target, found: Lookup) -> Step:
    """What the name stands for."""
    facts: dict[str, Any] = {"host": target.host, "addresses": [*found.addresses], "refused": [*found.refused]}
    if found.error is not None:
        return Step(NAME, State.BAD, *_lookup_failure(target, found.error), found.duration_s, facts)
    refused = _some(found.refused)
    if not found.addresses:
        text = f"{refused}: not public, so nothing is sent there" if refused else f"{target.host} has no address"
        advice = _ALLOW if refused else "check the host in `url`"
        return Step(NAME, State.BAD, text, advice, found.duration_s, facts)
    shown = _some(found.addresses)
    if refused:
        text = f"{shown}, but also {refused}, which is not public and never used"
        return Step(NAME, State.WARNING, text, _ALLOW, found.duration_s, facts)
    text = f"{shown} (no name, an address itself)" if found.is_literal else shown
    return Step(NAME, State.GOOD, text, "", found.duration_s, facts)


def connection_step(target: Target, found: Sequence[Connection], proxy: Proxy | None = None) -> Step:
    """Whether the endpoint's addresses, or the proxy's, answer at its port."""
    port = target.port if proxy is None else proxy.url.port
    answering = [each for each in found if each.error is None]
    silent = [each for each in found if each.error is not None]
    duration_s = min((each.duration_s for each in answering), default=max(each.duration_s for each in found))
    facts = {
        "port": port,
        "answering": [each.address for each in answering],
        "silent": {each.address: _why(each.error) for each in silent if each.error is not None},
    }
    by_way = "" if proxy is None else f" (the proxy {proxy.place}, which goes on to {target.place})"
    if not answering:
        error = silent[0].error
        assert error is not None
        where = _some([each.address for each in silent])
        return Step(
            CONNECTION, State.BAD, f"{where} port {port}{by_way}: {_why(error)}", _cure(error), duration_s, facts
        )
    text = f"{_some([each.address for each in answering])} port {port}{by_way}"
    telling = [each for each in silent if each.error is not None and not _is_ours(each.error)]
    if telling:
        assert telling[0].error is not None
        text += f"; but {_some([each.address for each in telling])}: {_why(telling[0].error)}"
        advice = "deliveries take another address, after a while: have the name's records or that server corrected"
        return Step(CONNECTION, State.WARNING, text, advice, duration_s, facts)
    return Step(CONNECTION, State.GOOD, text, "", duration_s, facts)


def proxy_step(target: Target, proxy: Proxy) -> Step:
    """That names are the proxy's to look up."""
    return Step(NAME, State.SKIPPED, f"the proxy {proxy.place} looks {target.host} up", "", 0.0, {"proxy": proxy.place})


def event_step(integration: Integration, batch: Batch, outcome: Outcome, *, is_by_proxy: bool = False) -> Step:
    """What the endpoint said to the test event."""
    facts: dict[str, Any] = {
        "batch": batch.id,
        "event": batch.block.decode(),
        "verdict": outcome.verdict.value,
        "status": outcome.status,
        "answer": outcome.answer_head,
    }
    if outcome.verdict is Verdict.DELIVERED and not outcome.refused:
        return Step(TEST_EVENT, State.GOOD, outcome.detail, "", outcome.duration_s, facts)
    refused = outcome.refused[0].detail if outcome.refused else ""
    text = outcome.detail if refused in outcome.detail else f"{outcome.detail}: {refused}"
    said = " ".join(outcome.answer_head.split())
    if said:
        shown = said if len(said) <= _QUOTED_CHARS else said[: _QUOTED_CHARS - 1] + "…"
        text += f', saying "{shown}"'
    return Step(
        TEST_EVENT,
        State.BAD,
        text,
        _advice(integration, outcome, is_by_proxy=is_by_proxy),
        outcome.duration_s,
        facts,
    )


def _advice(integration: Integration, outcome: Outcome, *, is_by_proxy: bool) -> str:
    status = outcome.status
    if status == HTTPStatus.UNAUTHORIZED or (outcome.hint is Hint.UNAUTHORIZED and status != HTTPStatus.FORBIDDEN):
        return f"the credentials are refused: check {_credentials(integration)} against what the endpoint expects"
    if status is not None and status >= _FIRST_HTTP_STATUS:
        return _advice_on_status(integration, outcome, status)
    if outcome.hint is not None:
        return _HINTS[outcome.hint]
    if status is not None or outcome.refused:
        return "ask the endpoint's owner what it does not like; the answer is above"
    return _advice_on_silence(integration, outcome.detail, is_by_proxy=is_by_proxy)


def _credentials(integration: Integration) -> str:
    """The keys that the integration shows who it is with; all that it could, where it sets none."""
    possible = [key for key in _CREDENTIALS if key in type(integration).model_fields]
    if "write_key" in possible:
        return "`write_key`"
    given = [key for key in possible if key in integration.model_fields_set]
    return " and ".join(f"`{key}`" for key in given) or " or ".join(f"`{key}`" for key in possible)


def _advice_on_status(  # noqa: PLR0911  one a cause
    integration: Integration, outcome: Outcome, status: int
) -> str:
    if (
        URL(integration.url).scheme in _PLAIN_SCHEMES
        and status == HTTPStatus.BAD_REQUEST
        and "https" in outcome.answer_head.lower()
    ):
        return f"the endpoint expects TLS at this port: {_BEGIN_WITH_TLS}"
    if status in _ADVICE:
        return _ADVICE[status]
    match status // 100:
        case 2 if outcome.verdict is Verdict.RETRY:
            return "the endpoint names events that it could not take, which are retried: ask its owner why"
        case 2:
            return (
                "the endpoint answers as if all were well, but takes no events: see its answer above, and ask its owner; "
                "such events are parked at once, without a further try"
            )
        case 3 if f"leads to {ITSELF};" in outcome.detail:
            return "the endpoint redirects to where the request went, as for a cookie or a log-in: ask its owner for a `url` without"
        case 3 if "the same place by https://" in outcome.detail:
            return _BEGIN_WITH_TLS
        case 3:
            return "set `url` to that place; if it is a page to log in, `authorization` is missing or wrong"
        case 4:
            return "the endpoint refuses the request: ask its owner why"
        case _:
            return "the endpoint fails: tell its owner; deliveries are retried"


def _advice_on_silence(integration: Integration, detail: str, *, is_by_proxy: bool) -> str:  # noqa: PLR0911  one a cause
    if detail.startswith(_TOKENLESS):
        return (
            "the token endpoint gives no token, so the endpoint itself was not asked: check `auth.token_url`, `auth.client_id`, "
            "`auth.client_secret` and `auth.scope`, or tell its owner; deliveries are retried"
        )
    if detail.startswith("no answer within"):
        return (
            f"the endpoint takes longer than `timeout` ({integration.timeout_s:g} s): it should answer first and work "
            "afterwards; otherwise raise `timeout`"
        )
    if "certificate" in detail and "required" in detail:
        return "the endpoint asks for a client certificate: set `tls.cert` and `tls.key`"
    if "garbage" in detail:
        return "that is not HTTP: check the port and scheme in `url`"
    if URL(integration.url).scheme in _PLAIN_SCHEMES and not is_by_proxy:
        return (
            "the connection works, but the request got no answer: check the scheme, since an endpoint that speaks TLS wants "
            "https:// (or grpcs://) in `url`; then port and path, and ask the endpoint's owner"
        )
    if is_by_proxy:
        return "the request went by way of the proxy: check what it lets through, and the endpoint behind it"
    return "the connection works, but the request got no answer: check path and port, and ask the endpoint's owner"


def _lookup_failure(target: Target, error: OSError) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return f"no answer about {target.host} from the name servers", "check this machine's name servers"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"{target.host} cannot be looked up now: {_why(error)}", "check this machine's name servers"
    return f"{target.host} has no address: {_why(error)}", "check the host in `url` for a typing error"


def _why(error: OSError) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror():
            return (error.strerror or "the lookup failed").lower()
        case _ if error.errno is not None and error.errno in errno.errorcode:
            return os.strerror(error.errno).lower()
        case _:
            return error.strerror or type(error).__name__


def _is_ours(error: OSError) -> bool:
    """Whether this machine has no way to such an address at all, as to IPv6 from most networks."""
    return error.errno in {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _cure(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: check the port in `url`, and whether the endpoint runs"
    if isinstance(error, TimeoutError):
        return "a firewall on the way drops it, or the host is down: ask the endpoint's owner whether it lets this machine in"
    return "there is no way from this machine to that network: check its routes and firewall"


def _some(addresses: Sequence[str]) -> str:
    more = len(addresses) - _SHOWN_ADDRESSES
    return ", ".join(addresses[:_SHOWN_ADDRESSES]) + (f" and {more} more" if more > 0 else "")
