"""What ``faust.yml`` may say: every key, its type, its default and its meaning."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, PlainSerializer, SecretStr
from pydantic_core import CoreSchema, core_schema
from yarl import URL

from pipeline.inbound.settings import InboundSettings, SegmentDestinationSettings, UsersSettings
from pipeline.model.integration import Count, Id, Integration
from pipeline.model.section import InWords, Section
from pipeline.model.units import KIB, MIB, Duration, Size
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard, spelled_address
from pipeline.net.proxy import EnvironmentProxies
from pipeline.notices.settings import NoticeSettings
from pipeline.sinks.registry import SINKS
from pipeline.view.settings import ViewSettings

KINDS: Final = tuple(spec.kind for spec in SINKS)
KINDS_TO_COME: Final = frozenset({"http", "grpc", "email", "xtremepush", "segment"}) - set(KINDS)

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
BROKER_SCHEME: Final = "kafka://"
_BROKER_PORT: Final = 9092
_BROKER_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LAST_PORT: Final = 65_535
_PLAIN_SCHEMES: Final = frozenset({"http", "grpc"})


def parse_brokers(text: str) -> tuple[str, ...]:
    """Read ``host:port,host`` as addresses that all have a port; raises ``ValueError`` with what to write."""
    addresses = []
    for part in text.split(","):
        found = _BROKER_ADDRESS.fullmatch(part.strip())
        port = int(found[2] or _BROKER_PORT) if found else 0
        if found is None or not 0 < port <= _LAST_PORT:
            raise ValueError("is not a list of broker addresses; write for example kafka-1:9092,kafka-2:9092")
        addresses.append(f"{found[1]}:{port}")
    return tuple(dict.fromkeys(addresses))


def _broker(text: str) -> str:
    if not text.startswith(BROKER_SCHEME):
        raise ValueError(f"must begin with {BROKER_SCHEME}, for example kafka://kafka-1:9092,kafka-2:9092")
    return BROKER_SCHEME + ",".join(parse_brokers(text.removeprefix(BROKER_SCHEME)))


def check_redis_url(secret: SecretStr) -> SecretStr:
    """Return ``secret`` where it is a Redis URL; raises ``ValueError``, which does not show it, otherwise."""
    try:
        url = URL(secret.get_secret_value())
        is_usable = url.scheme in {"redis", "rediss"} and bool(url.host) and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError("must be a URL such as redis://redis-1:6379/0 (rediss:// for TLS)")
    return secret


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("is not a topic's name: 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")
    return text


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a network such as 10.1.0.0/16")
    try:
        loose = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("is not a network; write for example 10.1.0.0/16 or fd00::/8") from None
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(f"names a host, not a network; did you mean {loose}?") from None


class _OneOfTheKinds:
    """Chooses the settings class by ``kind``, also while there is but one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {spec.kind: handler.generate_schema(spec.settings) for spec in SINKS}, discriminator="kind"
        )


AnyIntegration = Annotated[Integration, _OneOfTheKinds()]
"""An integration of any kind that there is a sink for."""


class Outbound(Section):
    """Where deliveries may go."""

    allow_http: bool = Field(
        False,
        description="Whether endpoints may be plain `http://` or `grpc://`, which anyone on the way can read.",
    )
    allow_networks: tuple[
        Annotated[
            IPv4Network | IPv6Network,
            BeforeValidator(_network),
            PlainSerializer(str, when_used="json"),
            InWords("networks, each as address/length"),
        ],
        ...,
    ] = Field(
        (),
        description="Private networks that endpoints may be in, for example `[127.0.0.0/8, 10.1.0.0/16]`. "
        "Any other address that is not public is refused, in the file and again at every connection.",
    )
    use_proxy_from_environment: bool = Field(
        False,
        description="Whether deliveries over HTTP go through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and "
        "`NO_PROXY` name. The proxy then looks names up and connects, so it must itself refuse addresses that are not public.",
    )

    def client(self) -> HttpClient:
        """A client that goes only where this section permits. Reads the proxy variables now, where they count at all."""
        proxies = EnvironmentProxies() if self.use_proxy_from_environment else None
        return HttpClient(AddressGuard(self.allow_networks), proxies=proxies)

    def refusal(self, url: str) -> str | None:
        """Why deliveries may not go to ``url``, or ``None``.

        Names are not looked up here: the addresses they stand for are checked at every connection.
        """
        try:
            parsed = URL(url)
            host = parsed.host or ""
        except ValueError:
            return None
        if parsed.scheme in _PLAIN_SCHEMES and not self.allow_http:
            encrypted = f"{parsed.scheme}s"
            return f"is plain {parsed.scheme}://; use {encrypted}://, or set outbound.allow_http: true"
        address = spelled_address(host)
        if address is not None and not AddressGuard(self.allow_networks).permits(address):
            return (
                f"is at {address}, which is not public; where that is meant, add its network to outbound.allow_networks"
            )
        return None


class Worker(Section):
    """How one worker uses its machine. The defaults suit most; all can be changed from one start to the next."""

    commit_interval_s: Annotated[float, Duration(0.01, 60.0)] = Field(
        1.0,
        alias="commit_interval",
        description="How often offsets of finished input are committed. Longer means more repeated work after a crash.",
    )
    session_timeout_s: Annotated[float, Duration(1.0, 300.0)] = Field(
        6.0,
        alias="session_timeout",
        description="After this long without a sign of life a worker's partitions go to the others. "
        "The broker's own bounds (`group.min.session.timeout.ms`) apply as well.",
    )
    tick_s: Annotated[float, Duration(0.01, 10.0)] = Field(
        0.1, alias="tick", description="How often each owned partition looks for windows and retries that are due."
    )
    max_chunk_bytes: Annotated[int, Size(64 * KIB, 64 * MIB)] = Field(
        4 * MIB, alias="max_chunk", description="How much input is handled at once at most, per partition."
    )
    delivery_slots: Count = Field(
        512,
        ge=1,
        le=10_000,
        description="How many deliveries one worker has under way at once, over all integrations. Each kind of sink in use has an "
        "equal part of them, and a lane alone holds three eighths of that part at most.",
    )
    window_memory_bytes: Annotated[int, Size(MIB)] = Field(
        96 * MIB,
        alias="window_memory",
        description="Events of open windows beyond this stay in the table and are read back when their window is sealed.",
    )
    delivery_memory_bytes: Annotated[int, Size(MIB)] = Field(
        64 * MIB,
        alias="delivery_memory",
        description="Bodies of waiting batches beyond this stay in their topic and are read back when their turn comes.",
    )
    metrics: bool = Field(True, description="Whether `/metrics` is served.")


class Settings(Section):
    """All of ``faust.yml``, checked.

    What must hold between its parts (unique ids, where endpoints may be) is checked by ``pipeline.config.load``, which
    can name both lines.
    """

    app: Id = Field(
        "distributary",
        description="The name of this deployment. Its topics, tables and consumer group "
        "begin with it, so that two deployments can share a cluster.",
    )
    broker: Annotated[str, AfterValidator(_broker)] | None = Field(
        None,
        description="Kafka, as `kafka://host:port,host:port`. Absent: the environment's `KAFKA_BROKERS`, else "
        "a local single node that is started when it is needed.",
    )
    redis: Annotated[SecretStr, AfterValidator(check_redis_url)] | None = Field(
        None,
        description="Redis, as `redis://host:port/0`. Absent: the environment's `REDIS_URL`, else a local server. "
        "Never shown, as it may hold a password.",
    )
    store: Literal["rocksdb://", "memory://"] = Field(
        "rocksdb://",
        description="Where tables live: `rocksdb://` under the worker's datadir, or `memory://`, "
        "which every start fills again from Kafka.",
    )
    topic: Annotated[str, AfterValidator(_topic)] = Field(
        "channels-tracking-log", description="The Kafka topic that events are read from."
    )
    partitions: Count = Field(
        4,
        ge=1,
        le=1000,
        description="How many partitions the project's own topics have, which bounds how many workers share the work. "
        "It cannot be changed once they exist.",
    )
    source_epoch: Count = Field(
        1,
        ge=1,
        le=1_000_000,
        description="Raise it by one after the source topic was deleted and made again, so that its offsets, "
        "which start again, are not taken for ones already seen.",
    )
    outbound: Outbound = Field(Outbound(), description="Where deliveries may go.")
    integrations: tuple[AnyIntegration, ...] = Field((), description="The customers' deliveries.")
    notices: NoticeSettings = Field(
        NoticeSettings(), description="Where people are told what needs them, beside the log and `<app>-notices`."
    )
    view: ViewSettings = Field(
        ViewSettings(), description="The web view: where it is served, to whom, and what they see."
    )
    inbound: InboundSettings | None = Field(
        None,
        description="The other direction: webhooks that outside systems call, and Segment's calls. Absent: there is no listener. "
        "`inbound: {}` takes every default. Users are looked up in Redis.",
    )
    segment_destination: SegmentDestinationSettings | None = Field(
        None, description="Segment's calls, which the listener of `inbound` takes. Absent: they are answered with 404."
    )
    users: UsersSettings = Field(
        UsersSettings(), description="The directory of users, which there is where there is `inbound`."
    )
    worker: Worker = Field(Worker(), description="How one worker uses its machine.")

    @property
    def brokers(self) -> tuple[str, ...] | None:
        """Kafka's ``host:port`` addresses; ``None`` means the local single node."""
        return None if self.broker is None else tuple(self.broker.removeprefix(BROKER_SCHEME).split(","))
