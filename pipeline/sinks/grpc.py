"""The gRPC sink: a bidirectional stream a batch, whose events the endpoint answers one by one, by uuid.

What is said on the stream, and what a receiver is to do, stands in ``proto/distributary/eventstream/v1``. The vendor's
contract (a stream from 1,000 events or an hour on, an event is done when its status is ``Success``) names no proto, so that
one is the project's own.

This module is the settings and the face. The rest is loaded when the first such sink is opened, since a worker without one
need not carry a gRPC stack.
"""

import os
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from yarl import URL

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.model.integration import BatchLimits, Count, Integration
from pipeline.model.section import Section
from pipeline.model.units import HOUR_S, KIB, MIB, MINUTE_S, Duration, Size
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.posting import TlsFiles

if TYPE_CHECKING:
    from pipeline.sinks.grpc_stream import Streams

_MOST_EVENTS_PER_MESSAGE: Final = 10_000


class GrpcBatchLimits(BatchLimits):
    """When a window of a gRPC integration is sealed."""

    max_events: Count = Field(1000, ge=1, le=100_000, description="Seal when the window holds this many events.")
    max_bytes: Annotated[int, Size(KIB, 8 * MIB)] = Field(
        4 * MIB, description="Seal before the events' JSON grows beyond this. A single larger event travels alone."
    )


class KeepAlive(Section):
    """HTTP/2 pings that notice a dead connection early."""

    time_s: Annotated[float, Duration(10.0, 2 * HOUR_S)] = Field(
        5 * MINUTE_S,
        alias="time",
        description="Ping after this long without a sign of life. Most servers close connections that ping more often "
        "than every 5 minutes, unless they are set to allow it.",
    )
    timeout_s: Annotated[float, Duration(1.0, 5 * MINUTE_S)] = Field(
        20.0, alias="timeout", description="Close the connection where a ping has no answer within this."
    )
    permit_without_stream: bool = Field(
        False, description="Whether to ping, and keep the connection, between batches too."
    )


class GrpcIntegration(Integration):
    """An integration whose batches are streamed to a gRPC server."""

    url_schemes: ClassVar[tuple[str, ...]] = ("grpcs", "grpc")

    kind: Literal["grpc"] = Field(description="What the endpoint speaks.")
    url: str = Field(
        description="The server, as `grpcs://host:port` or, where `outbound.allow_http` permits it, `grpc://host:port`. "
        "Without a port, 443 or 80."
    )
    authorization: SecretStr | None = Field(
        None, description="The whole value of the metadata `authorization`, sent as it is. Never shown."
    )
    batch: GrpcBatchLimits = Field(
        GrpcBatchLimits(), description="When a window is sealed, and a stream opened: at whichever limit comes first."
    )
    fields: Literal["published", "known"] = Field(
        "published",
        description="`published` sends the fields of the published event and its uuid; `known` also the others that an "
        "event may have. There is no `all`: what is not in the proto cannot travel.",
    )
    max_events_per_message: Count = Field(
        1,
        ge=1,
        le=_MOST_EVENTS_PER_MESSAGE,
        description="How many events travel in one message of the stream. More than 1 is several times as fast, "
        "for receivers that take it.",
    )
    max_message_bytes: Annotated[int, Size(KIB, 64 * MIB)] = Field(
        4 * MIB,
        alias="max_message",
        description="The largest message that the receiver takes; 4MiB is gRPC's own default. "
        "A single larger event is given up alone.",
    )
    tls: TlsFiles | None = Field(
        None, description="PEM files: other authorities (`ca`), a client certificate (`cert`, `key`)."
    )
    keep_alive: KeepAlive | None = Field(None, description="HTTP/2 pings; absent means none.")

    @field_validator("url")
    @classmethod
    def _names_a_server(cls, text: str) -> str:
        url = URL(text)
        if url.path not in {"", "/"} or url.query_string:
            raise ValueError("holds a path, which gRPC has no use for; write for example grpcs://host.example:443")
        return text

    @field_validator("authorization")
    @classmethod
    def _fits_metadata(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not secret.get_secret_value().isascii():
            raise ValueError("holds a character outside ASCII, which gRPC metadata cannot carry")
        return secret

    @model_validator(mode="after")
    def _tls_needs_grpcs(self) -> "GrpcIntegration":
        if self.tls is not None and not self.is_encrypted:
            raise ValueError("tls needs a url that begins with grpcs://")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.url.startswith("grpcs:")


class GrpcSink:
    """Delivers one integration's batches by gRPC. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: GrpcIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._context = context
        self._streams: Streams | None = None

    def __repr__(self) -> str:
        return f"GrpcSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        # gRPC's C library writes to standard error, past all logging, whenever a handshake fails. It reads this once, when
        # it is loaded.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from pipeline.sinks.grpc_stream import Streams  # noqa: PLC0415  a gRPC stack costs 25 MB and 0.1 s

        self._streams = Streams.prepared(self._settings, self._context)

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch`` on a stream of its own, which has the whole time-out."""
        if self._streams is None:
            raise RuntimeError(f"the sink of {self._settings.id} is not open: call open() first")
        return await self._streams.deliver(batch, now_s=now_s)

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            await self._streams.close()
            self._streams = None


SPEC = SinkSpec(
    kind="grpc",
    settings=GrpcIntegration,
    make=GrpcSink,
    summary="streams batches to a gRPC server, which answers each event.",
)
