"""What a sink is: the one place that knows how a batch is told to one kind of endpoint.

A sink is one file with three things: a settings class (the integration's keys in ``faust.yml``), a class that satisfies
``Sink``, and a ``SinkSpec`` that ``pipeline.sinks.registry`` lists. Everything else (retries, order, in-flight caps,
parking, the ledger) is the delivery core's and the same for every kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, Protocol

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.model.integration import Integration
from pipeline.net.client import HttpClient

USER_AGENT: Final = f"Distributary/{version('distributary')}"


class Leaving:
    """Whether partitions are about to leave the worker, so that tries under way should come to an end.

    A sink that sends a batch in several requests or messages then begins no more of them, and says what has arrived: a try that
    is cancelled instead is made again by the next owner, with all its events.
    """

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a worker lends to all its sinks.

    ``client`` is the worker's way to customers' endpoints over HTTP: it carries the address guard and is opened and closed
    by the worker, not by a sink. What speaks another protocol asks ``client.guard`` about every address that it connects
    to. ``user_agent`` is how requests introduce themselves; ``leaving`` says when tries should come to an end.
    """

    client: HttpClient
    user_agent: str = USER_AGENT
    leaving: Leaving = field(default_factory=Leaving)


class Sink(Protocol):
    """Delivers the batches of one integration. Made once an integration, used by all its lanes at the same time."""

    async def open(self) -> None:
        """Prepare to send; called once, before the first ``send``, on the event loop that will send.

        May read files (certificates) but waits for no endpoint. Raises ``ConfigError`` where the settings cannot work,
        for example a certificate file that is not there.
        """
        ...

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``, ``now_s`` being UNIX seconds of this try.

        Called by as many tasks at once as the integration's in-flight caps allow. May wait for the endpoint up to the
        integration's ``timeout_s`` for each request it makes; never blocks the event loop. Raises nothing for what the endpoint,
        its name or the network does: that is the outcome. What is raised all the same fails the try, with words that blame this
        program (``pipeline.delivery.results``). ``asyncio.CancelledError`` passes through, and leaves nothing
        behind that a later try would stumble over. What is sent for a batch is the same bytes on every try.
        """
        ...

    async def close(self) -> None:
        """Let go of what ``open`` made; called once, after the last ``send`` has returned. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """A kind of sink, as configuration, documentation, views and tests see it.

    ``kind`` is the word in ``faust.yml``; ``settings`` the class that its integrations are read into; ``make`` builds the
    sink of one integration from its settings, without I/O; ``summary`` is one line for people.
    """

    kind: str
    settings: type[Integration]
    make: Callable[[Any, SinkContext], Sink]
    summary: str
