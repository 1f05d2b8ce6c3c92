"""``/workers``: every worker and its partitions, and one worker alone."""

from agents.view.gather import Gather
from agents.view.server import View, Visit
from agents.view.sources.state import WorkerState
from agents.view.sources.workers import spans_of
from pipeline.errors import NotFoundError
from pipeline.view.page import Page


class WorkerPages:
    """The two pages."""

    def __init__(self, state: WorkerState, gather: Gather) -> None:
        self._state = state
        self._gather = gather

    def register(self, view: View) -> None:
        """Put them on ``view``."""
        view.page("/workers", self.workers, nav="Workers")
        view.page("/workers/{worker}", self.worker)

    async def workers(self, visit: Visit) -> Page:
        """All workers."""
        is_of_partitions = visit.parameter("section") == "partitions"
        workers = await self._gather.section(
            "workers", "workers", visit, what="workers", reads_url=not is_of_partitions
        )
        partitions = await self._gather.section(
            "partitions", "partitions", visit, what="partitions", reads_url=is_of_partitions
        )
        owners = self._state.peers.owners()
        facts = {
            "workers": len(owners),
            "partitions": len(self._state.peers.partitions),
            "asked": self._state.peers.own_url,
        }
        unowned = sorted(set(self._state.peers.partitions) - {number for owned in owners.values() for number in owned})
        lead = [f"Nobody owns partition {spans_of(unowned)} just now."] if unowned else []
        return Page("Workers", "page.html", [workers, partitions], facts, {"lead": lead})

    async def worker(self, visit: Visit) -> Page:
        """One worker, about itself."""
        url = visit.match["worker"]
        owners = self._state.peers.owners()
        if url not in owners and url != self._state.peers.own_url:
            raise NotFoundError(f"there is no worker {url[:200]}; it may have left")
        is_of_lanes = visit.parameter("section") == "lanes"
        worker = await self._gather.section("worker", "workers", visit, what="workers", reads_url=False, worker=url)
        partitions = await self._gather.section(
            "partitions", "partitions", visit, what="partitions", reads_url=not is_of_lanes, worker=url
        )
        lanes = await self._gather.section("lanes", "lanes", visit, what="lanes", reads_url=is_of_lanes, worker=url)
        facts = {"worker": url, "owns": spans_of(sorted(owners.get(url, frozenset()))) or "nothing"}
        return Page(f"Worker {url}", "page.html", [worker, partitions, lanes], facts)
