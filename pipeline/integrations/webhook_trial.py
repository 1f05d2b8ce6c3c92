"""What a webhook would make of its sample: the user who is meant and the event, without anything being fired."""

import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.inbound.event import EventTooLargeError, fire
from pipeline.inbound.mapping import compile_webhook, label_of
from pipeline.inbound.path import parse_path
from pipeline.inbound.payload import Refused
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.webhook_form import sample_of

_IDENTIFIERS: Final = {"user_id": "12345", "email": "jane@example.com", "phone": "+4915112345678", "hwid": "8A3F-11"}
_FAR: Final = 20
"""Beyond so many entries of a list an example would be all ``null``."""

_USER: Final = "(the user's id)"


class WebhookTrial(NamedTuple):
    """``by`` and ``identifier`` say who is meant, ``event`` is indented JSON; ``problem`` why there is none."""

    by: str = ""
    identifier: str = ""
    event: str = ""
    problem: str = ""


def try_sample(settings: WebhookSettings, *, now_s: float) -> WebhookTrial:
    """Make the event that the webhook's own sample would fire at ``now_s`` (UNIX seconds)."""
    sample = sample_of(settings.sample)
    if not settings.sample.strip():
        return WebhookTrial(problem="There is no sample: paste one to see the event that it fires.")
    if sample.problem:
        return WebhookTrial(problem=f"The sample {sample.problem}.")
    webhook = compile_webhook(settings)
    by = label_of(webhook.identify_by)
    try:
        identifier = webhook.identifier_of(sample.payload)
    except Refused as refused:
        return WebhookTrial(by, problem=f"{refused.outcome.label}: {refused.detail}.")
    try:
        _, event = fire(webhook, sample.payload, "sample", identifier=identifier, timestamp_s=int(now_s), user_id=_USER)
    except EventTooLargeError as error:
        return WebhookTrial(by, identifier, problem=f"{error}.")
    shown: dict[str, Any] = msgspec.json.decode(event)
    shown["uuid"] = "(made of the request)"
    missing = sorted(settings.attributes.keys() - shown["attributes"].keys())
    problem = f"Not in the sample, so left out: {', '.join(missing)}." if missing else ""
    return WebhookTrial(by, identifier, msgspec.json.format(msgspec.json.encode(shown), indent=2).decode(), problem)


def made_up_payload(settings: WebhookSettings) -> dict[str, Any]:
    """A payload that says whose event it is where the webhook looks for that: for one without a sample."""
    found: Any = _IDENTIFIERS[settings.identify.by]
    for step in reversed(parse_path(settings.identify.field)):
        if isinstance(step, str):
            found = {step: found}
        else:
            found = [*([None] * (min(step, _FAR) if isinstance(step, int) else 0)), found]
    return found if isinstance(found, dict) else {}


def example_command(url: str, authorization: str, payload: Mapping[str, Any]) -> str:
    """A ``curl`` command that sends ``payload`` to a webhook; ``authorization`` is the header's value, as the shell has it."""
    text = msgspec.json.format(msgspec.json.encode(payload), indent=2).decode()
    return " \\\n  ".join(
        (
            f"curl -i {shlex.quote(url)}",
            f"-H {authorization}",
            "-H 'Content-Type: application/json'",
            f"--data {shlex.quote(text)}",
        )
    )
