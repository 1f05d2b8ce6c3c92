"""Every error that Distributary raises on purpose, as one tree.

.. code-block:: text

    DistributaryError                what went wrong, where, and what to do about it
    ├── ConfigError                  faust.yml, the environment or a topic is wrong: the start stops, all errors at once
    ├── LocalServerError             the local Kafka or Redis cannot be had or does not answer
    ├── DataDirectoryError           a worker's data directory is in use, somebody else's, broken or cannot be written: it is let be
    ├── PoisonError                  one source record is unusable: it goes to the dead letters, the worker goes on
    ├── CodecError                   a record of one of our own topics or tables cannot be read: the worker stops
    ├── BatchGoneError               a batch that still waited is in its topic no more: it is discarded, the worker goes on
    ├── SourceRecreatedError         a source topic's offsets start again: the worker stops rather than skip events
    ├── SequenceGapError             a lane's numbers have a hole, so an event is missing: the worker stops
    ├── ViewError                    a request to the web view cannot be answered: an answer of 4xx or 5xx, the worker goes on
    │   ├── ViewQueryError           its parameters make no sense (400)
    │   ├── SignInError              nobody is signed in, or the token is wrong (401)
    │   ├── ForbiddenError           whoever is signed in may not do this (403)
    │   ├── NotFoundError            there is no such thing (404)
    │   ├── UnusableBodyError        its body is too large, of a wrong type or broken (413, 415, 400)
    │   ├── MisdirectedError         it is for another host (421)
    │   ├── TooManyTriesError        sign-in failed too often (429)
    │   ├── ConflictError            it was changed meanwhile, or exists already (409, 412)
    │   ├── InvalidChangeError       an integration with mistakes, each named (422)
    │   └── UnavailableError         who would have to answer does not, just now (503)
    │       └── UsersUnavailableError    whoever a request is about cannot be looked up, just now (503)
    ├── UnsupportedFeatureError      a Faust feature that the chunk engine does not offer was used
    ├── GroupRefusedError            the broker keeps a worker out of its consumer group: the worker stops
    └── SendFailedError              the broker did not take a record: the worker stops, nothing is committed

The class decides who reacts. ``PoisonError``, ``BatchGoneError`` and the ``ViewError``s are the only ones that a worker survives;
all others end it with the message, because going on would lose events.
"""


class DistributaryError(Exception):
    """Base of all errors that are raised on purpose."""


class ConfigError(DistributaryError):
    """One or more mistakes in the configuration.

    ``problems`` holds one line a mistake, each ``file:line key: what is wrong, what is allowed``, or with a topic's name first.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LocalServerError(DistributaryError):
    """The local Kafka or Redis cannot be installed, started or reached."""


class DataDirectoryError(DistributaryError):
    """The directory of a worker's tables is in use by another process, belongs to another app or cluster, or is broken."""


class PoisonError(DistributaryError):
    """One source record cannot be used.

    ``reason`` is a short stable word for counting (see ``pipeline.ingest.decode``), ``detail`` says what was found where.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class CodecError(DistributaryError):
    """A record that Distributary itself wrote cannot be read back."""


class BatchGoneError(DistributaryError):
    """A batch that waits is in its topic no more: retention removed it, or the topic was deleted and made again."""


class SourceRecreatedError(DistributaryError):
    """A source topic was deleted and made again, so that its offsets no longer mean what the state remembers."""


class SequenceGapError(DistributaryError):
    """A batch does not begin where its lane's last one ended."""


class ViewError(DistributaryError):
    """A request to the web view that cannot be answered as asked; ``status`` is the answer's."""

    status = 500


class ViewQueryError(ViewError):
    """Parameters that make no sense."""

    status = 400


class SignInError(ViewError):
    """Nobody is signed in, or with a wrong or expired token."""

    status = 401


class ForbiddenError(ViewError):
    """The role of whoever is signed in does not permit it."""

    status = 403


class NotFoundError(ViewError):
    """There is no such page, integration, batch or row."""

    status = 404


class UnusableBodyError(ViewError):
    """A body that is too large (413), of a type that is not taken (415), or broken (400)."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class MisdirectedError(ViewError):
    """A request for another host than this view's."""

    status = 421


class TooManyTriesError(ViewError):
    """Sign-ins failed too often; ``wait_s`` is how long to wait."""

    status = 429

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"sign-in failed too often from here; try again in {max(1.0, wait_s):.0f} s")
        self.wait_s = wait_s


class ConflictError(ViewError):
    """Somebody else changed it meanwhile (412), or it exists already (409)."""

    def __init__(self, message: str, *, status: int = 412) -> None:
        super().__init__(message)
        self.status = status


class InvalidChangeError(ViewError):
    """An integration that cannot be as asked; ``problems`` are pairs of a key, with dots, and what is wrong with it."""

    status = 422

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {problem}" for key, problem in problems))
        self.problems = problems


class UnavailableError(ViewError):
    """Who would have to answer is away, starting or busy; ``retry_after_s`` is when to ask again, where that is known."""

    status = 503

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UsersUnavailableError(UnavailableError):
    """Redis, where users are looked up, is away, slow or being filled: nobody can be said to exist or not."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class UnsupportedFeatureError(DistributaryError):
    """A feature of Faust that does not exist on chunk topics and tables."""


class GroupRefusedError(DistributaryError):
    """The broker does not let this worker into its consumer group."""


class SendFailedError(DistributaryError):
    """The broker refused or lost a record."""
