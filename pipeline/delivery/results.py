"""What a sink says of a try; a failed try where it raises, or says what cannot be written down.

A sink raises nothing for what its endpoint does. One that does so all the same, since an endpoint found a mistake in it, must not
stop the deliveries to all others: it fails the try, as the endpoint could have done, and what gives up is parked.
"""

import asyncio

import msgspec
import structlog

from pipeline.model.attempt import Outcome, Verdict

log = structlog.get_logger(__name__)


class Results:
    """Reads the outcomes of tries. Logs a sink's mistake with its traceback, once for each integration and kind of error."""

    def __init__(self) -> None:
        self._told: set[tuple[str, type[BaseException]]] = set()

    def outcome_of(self, task: "asyncio.Task[Outcome]", *, integration_id: str, batch_id: str) -> Outcome:
        """Give the outcome of a try that ended, of which nobody but the sink itself can have cancelled the task."""
        try:
            outcome = task.result()
            msgspec.json.encode(outcome)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 whatever it is, it is of this lane alone
            self._tell(error, integration_id, batch_id)
            return Outcome(
                Verdict.RETRY,
                f"the sink failed with {type(error).__name__}, which is a mistake of this program: see the worker's log",
            )
        return outcome

    def _tell(self, error: BaseException, integration_id: str, batch_id: str) -> None:
        kind = (integration_id, type(error))
        if kind not in self._told:
            self._told.add(kind)
            log.error(
                "a sink failed, which is a mistake of this program: please report it",
                integration=integration_id,
                batch=batch_id,
                exc_info=error,
            )
