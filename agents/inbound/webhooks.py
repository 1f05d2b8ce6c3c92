"""Requests to webhooks: ``POST /webhooks/ID``. Each becomes one record, whatever came of it, and is answered after that."""

import asyncio
import math
import re
import uuid
from typing import Final

import msgspec
from aiohttp import web

from agents.inbound import answers
from agents.inbound.accept import Acceptor
from agents.inbound.address import Callers
from agents.inbound.limits import WebhookRates
from agents.inbound.reading import read_body
from agents.inbound.records import key_of, refuse, show, show_unread, shown
from agents.inbound.server import Answered
from agents.integrations import Integrations
from agents.users.lookup import Users
from pipeline.clock import Clock
from pipeline.errors import UnavailableError, UsersUnavailableError
from pipeline.inbound.event import EventTooLargeError, fire
from pipeline.inbound.keys import request_key
from pipeline.inbound.mapping import CompiledWebhook, compile_webhook
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.payload import Refused, read_payload
from pipeline.inbound.request import InboundEvent, InboundRequest, encode
from pipeline.inbound.rows import STRANGERS
from pipeline.inbound.secrets import authorized
from pipeline.inbound.settings import InboundSettings, WebhookSettings
from pipeline.integrations.snapshot import WebhookEntry

CAUGHT_UP_WITHIN_S: Final = 2.0
"""How long to look for a webhook that is not known here: it may have been made a moment ago, on another worker."""

LONGEST_ID: Final = 64
_ID: Final = re.compile(r"[a-z0-9-]{1,64}")


class _LimitedError(Exception):
    """The webhook's rate is used up; another request may come in ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Webhooks:
    """Answers requests to the webhooks that are in force."""

    def __init__(
        self,
        settings: InboundSettings,
        *,
        integrations: Integrations,
        users: Users,
        acceptor: Acceptor,
        rates: WebhookRates,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._integrations = integrations
        self._users = users
        self._acceptor = acceptor
        self._rates = rates
        self._clock = clock
        self._callers = Callers(settings.trust_proxy)
        self._compiled: dict[str, CompiledWebhook] = {}

    async def answer(self, request: web.BaseRequest, webhook_id: str, is_busy: bool) -> Answered:  # noqa: FBT001 a handler's signature
        """Take the request, or say why not."""
        entry = self._integrations.snapshot.webhooks.get(webhook_id)
        if entry is None:
            try:
                entry = None if is_busy else await self._look_again(webhook_id)
            except (UnavailableError, TimeoutError):
                return Answered(Outcome.UNAVAILABLE, answers.refused(Outcome.UNAVAILABLE))
        if entry is None:
            self._compiled.pop(webhook_id, None)
            return await self._answer_stranger(request, webhook_id, is_busy=is_busy)
        webhook = self._compile(entry.settings)
        key = key_of(request)
        record = InboundRequest(
            at_s=self._clock.wall_s(),
            request_id=str(uuid.uuid4()),
            source="webhook",
            outcome=Outcome.ACCEPTED,
            status=Outcome.ACCEPTED.status,
            webhook_id=webhook_id,
            application=webhook.settings.application,
            identifier_by=webhook.identify_by,
            key=shown(key),
            address=self._callers.of(request),
        )
        if is_busy:
            refuse(record, Outcome.BUSY)
            self._acceptor.offer(webhook_id, encode(record))
            return Answered(Outcome.BUSY, answers.refused(Outcome.BUSY, request_id=record.request_id))
        retry_after_s = answers.RETRY_AFTER_S
        try:
            await self._judge(request, webhook, request_key(webhook.id, key, entry.made), record)
        except _LimitedError as limited:
            refuse(record, Outcome.RATE_LIMITED)
            retry_after_s = limited.retry_after_s
        except Refused as refused:
            refuse(record, refused.outcome, refused.detail)
            if not record.size_bytes:
                await show_unread(record, request)
        except UsersUnavailableError as error:
            refuse(record, Outcome.UNAVAILABLE, str(error))
        if not await self._acceptor.store(webhook_id, encode(record)):
            return Answered(
                Outcome.UNAVAILABLE,
                answers.refused(Outcome.UNAVAILABLE, detail="Kafka did not acknowledge the request"),
            )
        return Answered(record.outcome, _answer_to(record, retry_after_s))

    async def _answer_stranger(self, request: web.BaseRequest, webhook_id: str, *, is_busy: bool) -> Answered:
        """To a webhook that there is not: counted together with all others such."""
        outcome = Outcome.BUSY if is_busy else Outcome.UNKNOWN_WEBHOOK
        record = InboundRequest(
            at_s=self._clock.wall_s(),
            request_id=str(uuid.uuid4()),
            source="webhook",
            outcome=outcome,
            status=outcome.status,
            webhook_id=shown(webhook_id)[:LONGEST_ID],
            address=self._callers.of(request),
        )
        if is_busy:
            self._acceptor.offer(STRANGERS, encode(record))
        else:
            await show_unread(record, request)
            if not await self._acceptor.store(STRANGERS, encode(record)):
                return Answered(Outcome.UNAVAILABLE, answers.refused(Outcome.UNAVAILABLE))
        return Answered(outcome, answers.refused(outcome, request_id=record.request_id))

    async def _judge(
        self, request: web.BaseRequest, webhook: CompiledWebhook, event_key: str, record: InboundRequest
    ) -> None:
        """Put the event into ``record``; raises ``Refused`` or ``UsersUnavailableError`` where there is none."""
        settings = webhook.settings
        if request.method != "POST":
            raise Refused(Outcome.METHOD_NOT_ALLOWED, f"{request.method[:20]} came")
        if not authorized(request.headers.get("Authorization"), settings, record.at_s):
            raise Refused(Outcome.AUTH_REJECTED)
        if not settings.enabled:
            raise Refused(Outcome.DISABLED)
        if wait_s := await self._rates.take(webhook.id):
            raise _LimitedError(math.ceil(wait_s))
        body = await read_body(request, self._settings.max_body_bytes)
        show(record, body)
        payload = read_payload(body, self._settings.max_depth)
        identifier = record.identifier = webhook.identifier_of(payload)
        found = await self._users.find(settings.application, webhook.identify_by, identifier)
        if found is None:
            raise Refused(Outcome.USER_NOT_FOUND)
        record.user_key = found.user_key
        try:
            event_id, event = fire(
                webhook,
                payload,
                event_key or record.request_id,
                identifier=identifier,
                timestamp_s=int(record.at_s),
                user_id=found.user_id,
                hwid=found.hwid,
                device_platform=found.platform,
                email=found.email,
            )
        except EventTooLargeError as error:
            raise Refused(Outcome.TOO_LARGE, str(error)) from None
        record.events = [InboundEvent(key=event_key, uuid=event_id, event=msgspec.Raw(event))]

    async def _look_again(self, webhook_id: str) -> WebhookEntry | None:
        if not _ID.fullmatch(webhook_id):
            return None
        async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
            await self._integrations.caught_up()
        return self._integrations.snapshot.webhooks.get(webhook_id)

    def _compile(self, settings: WebhookSettings) -> CompiledWebhook:
        compiled = self._compiled.get(settings.id)
        if compiled is None or compiled.settings is not settings:
            compiled = self._compiled[settings.id] = compile_webhook(settings)
        return compiled


def _answer_to(record: InboundRequest, retry_after_s: int) -> web.Response:
    if record.outcome is Outcome.ACCEPTED:
        return answers.accepted(record.request_id, record.events[0].uuid)
    return answers.refused(
        record.outcome, request_id=record.request_id, detail=record.detail, retry_after_s=retry_after_s
    )
