"""How TLS went, in words: pure functions from a handshake to a step."""

import ssl
from typing import Any, Final

import msgspec

from pipeline.doctor.certificate import RENEWAL_DAYS, Certificate, read_certificate
from pipeline.doctor.probe import Handshake
from pipeline.doctor.step import TLS, State, Step
from pipeline.doctor.target import Target

# OpenSSL's numbers for why a certificate is not trusted (x509_vfy.h).
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED: Final = 18
_UNKNOWN_AUTHORITY: Final = frozenset({2, 19, 20, 21})
_REVOKED: Final = 23
_WRONG_NAME: Final = frozenset({62, 64})

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_TOO_OLD: Final = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})
_WANTS_CERTIFICATE: Final = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE"})
_SHOW_ONE: Final = "it probably asks for a client certificate: set `tls.cert` and `tls.key`"
_IT_MUST_RENEW: Final = "nothing is delivered before the endpoint has a new certificate: tell its owner"


def tls_step(target: Target, found: Handshake, *, now_s: float) -> Step:
    """Whether the endpoint speaks TLS and its certificate is to be trusted, at ``now_s`` (UNIX seconds)."""
    certificate = _read(found.certificate)
    facts = _facts(found, certificate, now_s)
    if isinstance(found.error, ssl.SSLCertVerificationError):
        text, advice = _distrust(target, found.error.verify_code, found.error.verify_message, certificate, now_s)
        return Step(TLS, State.BAD, text, advice, found.duration_s, facts)
    if found.error is not None:
        return Step(
            TLS, State.BAD, *_failure(found.error, is_agreed=found.version is not None), found.duration_s, facts
        )
    if certificate is None:
        return Step(TLS, State.BAD, "its certificate cannot be read", _IT_MUST_RENEW, found.duration_s, facts)
    days = certificate.days_left(now_s)
    text = f"{found.version}, {certificate.names_in_words}, by {certificate.issuer}, {_days(days)} left"
    if target.is_grpc and found.protocol != "h2":
        advice = "gRPC needs HTTP/2: check the port in `url`, and what stands in front of the endpoint"
        return Step(TLS, State.BAD, f"{text}, but no HTTP/2", advice, found.duration_s, facts)
    if days < RENEWAL_DAYS:
        advice = f"nothing is delivered from {certificate.ends_on} on unless the certificate is renewed: tell its owner"
        return Step(TLS, State.WARNING, text, advice, found.duration_s, facts)
    return Step(TLS, State.GOOD, text, "", found.duration_s, facts)


def _distrust(  # noqa: PLR0911  one return a reason
    target: Target, code: int, message: str, certificate: Certificate | None, now_s: float
) -> tuple[str, str]:
    names = "other names" if certificate is None else certificate.names_in_words
    issuer = "an unknown authority" if certificate is None else certificate.issuer
    if code == _EXPIRED:
        ended = "" if certificate is None else f" {_days(-certificate.days_left(now_s))} ago"
        return f"its certificate, or one above it, has expired: {names} ended{ended}", _IT_MUST_RENEW
    if code == _NOT_YET_VALID:
        begins = "" if certificate is None else f" before {certificate.not_before:%Y-%m-%d}"
        return (
            f"its certificate is not valid{begins}",
            "check this machine's clock; otherwise tell the endpoint's owner",
        )
    if code in _WRONG_NAME:
        advice = "use one of these names in `url`, or have a certificate made for the one that is there"
        return f"its certificate is for {names}, not for {target.server_name}", advice
    if code == _SELF_SIGNED:
        advice = "if you got it from the endpoint's owner in a safe way, name its file in `tls.ca`"
        return "its certificate is self-signed, so nobody vouches for it", advice
    if code in _UNKNOWN_AUTHORITY:
        advice = (
            "name the authority's file in `tls.ca` if it is the endpoint's own; "
            "otherwise the endpoint must send the certificates between its own and a known one"
        )
        return f"its certificate is by {issuer}, which is not trusted here", advice
    if code == _REVOKED:
        return "its certificate was revoked", _IT_MUST_RENEW
    return f"its certificate is not trusted: {message}", "tell the endpoint's owner"


def _failure(error: OSError, *, is_agreed: bool) -> tuple[str, str]:
    """``is_agreed`` says that the handshake itself went well."""
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if isinstance(error, TimeoutError):
        text, advice = "no TLS handshake in time", "does it speak plain http? Check the port and scheme in `url`"
    elif reason in _NO_TLS:
        text, advice = "what listens there does not speak TLS", "check the port in `url`, or the scheme"
    elif reason in _TOO_OLD:
        text, advice = "it speaks no TLS version that is safe", "it must offer TLS 1.2 or newer: tell its owner"
    elif _wants_certificate(error):
        text, advice = "it hangs up on whoever shows no certificate", _SHOW_ONE
    elif is_agreed:
        text, advice = "it hangs up right after the handshake", _SHOW_ONE
    elif isinstance(error, ssl.SSLError):
        words = (reason or error.strerror or "no reason given").replace("_", " ").lower()
        text, advice = f"the TLS handshake failed: {words}", "ask the endpoint's owner which TLS it expects"
    else:
        text = "it broke the connection off during the TLS handshake"
        advice = "check the port in `url`; a firewall on the way may also do this"
    return text, advice


def _wants_certificate(error: OSError) -> bool:
    return isinstance(error, ssl.SSLError) and error.reason in _WANTS_CERTIFICATE


def _read(der: bytes | None) -> Certificate | None:
    if der is None:
        return None
    try:
        return read_certificate(der)
    except ValueError:
        return None


def _facts(found: Handshake, certificate: Certificate | None, now_s: float) -> dict[str, Any]:
    facts: dict[str, Any] = {"version": found.version, "protocol": found.protocol}
    if certificate is not None:
        facts["certificate"] = msgspec.to_builtins(certificate) | {"days_left": certificate.days_left(now_s)}
    return facts


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
