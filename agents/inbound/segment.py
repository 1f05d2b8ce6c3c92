"""Segment's calls: ``POST /integration-segment/v1/...``, and ``setTags``, which RudderStack makes in the place of one."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from agents.inbound import answers
from agents.inbound.accept import Acceptor
from agents.inbound.address import Callers
from agents.inbound.reading import read_body
from agents.inbound.records import key_of, refuse, show, show_unread, shown
from agents.inbound.server import NOWHERE, Answered
from agents.inbound.sightings import Sightings
from agents.users.lookup import UpdateTooLargeError, Users
from pipeline.clock import Clock
from pipeline.errors import UsersUnavailableError
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.payload import Refused
from pipeline.inbound.request import InboundEvent, InboundRequest, encode
from pipeline.inbound.segment.answers import (
    PONG,
    TAGS_SET,
    TAKEN,
    TRACK_USER,
    Answer,
    Refusal,
    refused,
    set_tags_answer,
    undecodable,
)
from pipeline.inbound.segment.credentials import APPLICATION_HEADER, authorized_application
from pipeline.inbound.segment.delete_user import NOBODY as NOBODY_DELETED
from pipeline.inbound.segment.delete_user import read_delete_user
from pipeline.inbound.segment.made_events import make_events
from pipeline.inbound.segment.post_events import read_post_events
from pipeline.inbound.segment.reasons import Reason
from pipeline.inbound.segment.set_tags import read_set_tags, stranger_refusal
from pipeline.inbound.segment.track_user import NOBODY as NOBODY_TRACKED
from pipeline.inbound.segment.track_user import read_track_user
from pipeline.inbound.segment.tracked_user import TrackedUser
from pipeline.inbound.settings import InboundSettings, SegmentDestinationSettings
from pipeline.integrations.audit import Actor
from pipeline.model.placement import partition_of
from pipeline.users.identifiers import key_of_anonymous, key_of_user, place_of_user
from pipeline.users.model import Device
from pipeline.users.updates import TrackUser

BASE_PATH: Final = "/integration-segment/v1/"

_PLACE: Final = "segment\0"
"""A call without events is placed by this and its application, so that its counts have one owner."""
LARGEST_PART_BYTES: Final = 4 << 20
"""How much of a call's events one record holds."""


class SegmentCalls:
    """Answers the calls for the applications of ``segment_destination``."""

    def __init__(
        self,
        settings: InboundSettings,
        destination: SegmentDestinationSettings,
        *,
        users: Users,
        acceptor: Acceptor,
        clock: Clock,
        partitions: int,
    ) -> None:
        self._settings = settings
        self._destination = destination
        self._users = users
        self._acceptor = acceptor
        self._clock = clock
        self._partitions = partitions
        self._callers = Callers(settings.trust_proxy)
        self._sightings = Sightings(users, clock)
        self._calls: Mapping[str, _Take] = {
            "ping": self._ping,
            "track-user": self._track_user,
            "post-events": self._post_events,
            "delete-user": self._delete_user,
        }

    async def answer(self, request: web.BaseRequest, call: str, is_busy: bool) -> Answered:  # noqa: FBT001 a handler's signature
        """Take a call below ``BASE_PATH``, or say why not."""
        take = self._calls.get(call)
        if take is None:
            return Answered(NOWHERE, answers.refused(Outcome.UNKNOWN_WEBHOOK))
        return await self._answer(
            request, f"/{call}", lambda record: self._judge(request, record, take), is_busy=is_busy
        )

    async def answer_set_tags(self, request: web.BaseRequest, rest: str, is_busy: bool) -> Answered:  # noqa: FBT001 a handler's signature
        """Take ``setTags``, whose body names the application, or say why not."""
        if rest:
            return Answered(NOWHERE, answers.refused(Outcome.UNKNOWN_WEBHOOK))
        return await self._answer(request, "/setTags", lambda record: self._set_tags(request, record), is_busy=is_busy)

    async def _answer(
        self,
        request: web.BaseRequest,
        call: str,
        judge: Callable[[InboundRequest], Awaitable["_Done | Refusal"]],
        *,
        is_busy: bool,
    ) -> Answered:
        record = InboundRequest(
            at_s=self._clock.wall_s(),
            request_id=str(uuid.uuid4()),
            source="segment",
            outcome=Outcome.ACCEPTED,
            status=Outcome.ACCEPTED.status,
            call=call,
            key=shown(key_of(request)),
            address=self._callers.of(request),
        )
        if is_busy:
            refusal = refused(Outcome.BUSY)
            refuse(record, refusal.outcome, refusal.detail)
            self._acceptor.offer(_PLACE, encode(record))
            return Answered(refusal.outcome, _response(refusal.answer, refusal.outcome))
        try:
            done = await judge(record)
        except Refused as error:
            done = refused(error.outcome, error.detail)
        except UsersUnavailableError as error:
            done = refused(Outcome.UNAVAILABLE, str(error))
        if isinstance(done, Refusal):
            refuse(record, done.outcome, done.detail)
            record.status = done.answer.status
            if not record.size_bytes:
                await show_unread(record, request)
        if not await self._acceptor.store_all(self._parts(record, done.events if isinstance(done, _Done) else ())):
            return Answered(Outcome.UNAVAILABLE, _response(refused(Outcome.UNAVAILABLE).answer, Outcome.UNAVAILABLE))
        return Answered(record.outcome, _response(done.answer, record.outcome))

    async def _judge(self, request: web.BaseRequest, record: InboundRequest, take: "_Take") -> "_Done | Refusal":
        if request.method != "POST":
            return refused(Outcome.METHOD_NOT_ALLOWED, f"{request.method[:20]} came")
        headers = request.headers
        application = authorized_application(
            headers.get(APPLICATION_HEADER), headers.get("Authorization"), self._destination.applications
        )
        if isinstance(application, Refusal):
            named = (headers.get(APPLICATION_HEADER) or "").strip()
            record.application = named if named in self._destination.applications else ""
            return application
        record.application = application
        body = await read_body(request, self._destination.max_body_bytes)
        show(record, body)
        return await take(record, body, key_of(request))

    async def _ping(self, _record: InboundRequest, _body: bytes, _key: str) -> "_Done | Refusal":
        return _Done(PONG)

    async def _post_events(self, record: InboundRequest, body: bytes, key: str) -> "_Done | Refusal":
        posted = read_post_events(
            body,
            is_strict=self._destination.is_strict,
            max_events=self._destination.max_events,
            max_depth=self._settings.max_depth,
        )
        if isinstance(posted, Refusal):
            return posted
        application = record.application
        made = make_events(
            posted, application=application, request_id=record.request_id, at_s=record.at_s, idempotency_key=key
        )
        record.disregarded, record.detail = made.disregarded, shown(posted.detail)
        if not self._acceptor.is_stalled:
            self._sightings.note(application, posted.events, record.at_s)
        return _Done(
            TAKEN, [(_place_of(application, each.user_id, each.device_id), each.event) for each in made.events]
        )

    async def _track_user(self, record: InboundRequest, body: bytes, _key: str) -> "_Done | Refusal":
        tracked = read_track_user(body, is_strict=self._destination.is_strict, max_depth=self._settings.max_depth)
        if isinstance(tracked, Refusal):
            return tracked
        if tracked is None:
            record.disregarded, record.detail = {Reason.IDENTITY_MISSING.value: 1}, NOBODY_TRACKED
            return _Done(TAKEN)
        try:
            await self._track(record, tracked)
        except ValueError as error:  # an identifier that the directory cannot hold
            return undecodable(TRACK_USER, str(error))
        return _Done(TAKEN)

    async def _set_tags(self, request: web.BaseRequest, record: InboundRequest) -> "_Done | Refusal":
        if request.method != "POST":
            return refused(Outcome.METHOD_NOT_ALLOWED, f"{request.method[:20]} came")
        authorization, tokens = request.headers.get("Authorization"), self._destination.applications
        stranger = stranger_refusal(authorization, tokens)
        if stranger is not None:
            return stranger
        body = await read_body(request, self._settings.max_body_bytes)
        show(record, body)
        call = read_set_tags(body, authorization, tokens, max_depth=self._settings.max_depth)
        record.application = call.application
        if isinstance(call, Refusal):
            return call
        try:
            await self._track(record, call.user)
        except ValueError as error:
            return Refusal(set_tags_answer(400, 210, str(error)), Outcome.UNDECODABLE, str(error))
        return _Done(TAGS_SET)

    async def _delete_user(self, record: InboundRequest, body: bytes, _key: str) -> "_Done | Refusal":
        user_id = read_delete_user(body)
        if isinstance(user_id, Refusal):
            return user_id
        if user_id is None:
            record.disregarded, record.detail = {Reason.IDENTITY_MISSING.value: 1}, NOBODY_DELETED
            return _Done(TAKEN)
        record.identifier_by, record.identifier = "user_id", user_id
        await self._users.delete(record.application, user_id, Actor("Segment", "segment", record.address))
        return _Done(TAKEN)

    async def _track(self, record: InboundRequest, tracked: TrackedUser) -> None:
        record.detail, record.disregarded = shown(tracked.detail), tracked.disregarded
        record.identifier_by, record.identifier = tracked.identifier
        latitude, longitude = tracked.location or (None, None)
        device = Device(
            platform=tracked.platform or None,
            model=tracked.model or None,
            os_version=tracked.os_version or None,
            app_version=tracked.app_version or None,
            token=tracked.token or None,
            language=tracked.language or None,
            country=tracked.country or None,
            city=tracked.city or None,
            latitude=latitude,
            longitude=longitude,
            timezone=tracked.timezone or None,
            user_agent=tracked.user_agent or None,
        )
        update = TrackUser(
            application=record.application,
            at_us=int(record.at_s * 1e6),
            user_id=tracked.user_id or None,
            hwid=tracked.device_id or None,
            email=tracked.email or None,
            phone=tracked.phone or None,
            device=device,
            attributes=dict(tracked.attributes),
        )
        record.user_key = update.own_key
        try:
            await self._users.track(update)
        except UpdateTooLargeError as error:
            raise Refused(Outcome.TOO_LARGE, str(error)) from None

    def _parts(self, record: InboundRequest, events: Sequence[tuple[str, InboundEvent]]) -> list[tuple[str, bytes]]:
        """The records of a call: one for each partition that its users are on, and where one would be too large, several."""
        if not events:
            return [(_PLACE + record.application, encode(record))]
        parts: list[tuple[str, list[InboundEvent]]] = []
        open_parts: dict[int, list[InboundEvent]] = {}
        sizes: dict[int, int] = {}
        for place, event in events:
            partition = partition_of(place, self._partitions)
            size_bytes = sizes.get(partition, LARGEST_PART_BYTES) + len(bytes(event.event))
            if size_bytes > LARGEST_PART_BYTES:
                size_bytes = len(bytes(event.event))
                open_parts[partition] = []
                parts.append((place, open_parts[partition]))
            open_parts[partition].append(event)
            sizes[partition] = size_bytes
        first, *others = parts
        record.events = first[1]
        encoded = [(first[0], encode(record))]
        for place, part in others:
            of_call = InboundRequest(
                at_s=record.at_s,
                request_id=record.request_id,
                source=record.source,
                outcome=record.outcome,
                status=record.status,
                call=record.call,
                application=record.application,
                key=record.key,
                address=record.address,
                events=part,
                is_first_part=False,
            )
            encoded.append((place, encode(of_call)))
        return encoded


class _Done(NamedTuple):
    """A call that is taken: its answer and its events, each with what it is placed by."""

    answer: Answer
    events: Sequence[tuple[str, InboundEvent]] = ()


_Take = Callable[[InboundRequest, bytes, str], Awaitable[_Done | Refusal]]
"""Does what a call wants, given its record, its body and its idempotency key."""


def _place_of(application: str, user_id: str, device_id: str) -> str:
    return place_of_user(application, key_of_user(user_id) if user_id else key_of_anonymous(device_id))


def _response(answer: Answer, outcome: Outcome) -> web.Response:
    headers = {"Retry-After": str(answers.RETRY_AFTER_S)} if outcome.is_temporary else {}
    if outcome is Outcome.METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    return answers.json_answer(answer.status, answer.body, headers)
