"""What the gauges of a worker read when somebody scrapes."""

from types import SimpleNamespace
from typing import Any, cast

from agents.observe import SNAPSHOT_S, Gauges
from pipeline.metrics import Metrics
from tests.support.delivering import Delivering, delivering, integration


def metrics_of(it: Delivering, reads: list[float]) -> Metrics:
    """Metrics that watch one delivery core and nothing else; ``reads`` says when its lanes were read."""

    def lanes():
        reads.append(it.clock.monotonic_s())
        return it.core.lanes()

    core = SimpleNamespace(lanes=lanes, resident_bytes=0, in_flight=0)
    app = SimpleNamespace(consumer=SimpleNamespace(uncommitted=list), assignment=set)
    deliveries = [SimpleNamespace(kind="http", core=core)]
    metrics = Metrics("test")
    windows = SimpleNamespace(stages={})
    gauges = Gauges(cast("Any", app), cast("Any", None), cast("Any", windows), cast("Any", deliveries), it.clock)
    gauges.watch(metrics)
    return metrics


async def test_a_scrape_reads_the_lanes_once():
    async with delivering(integration("crm")) as it:
        reads: list[float] = []
        metrics_of(it, reads).render()
        assert len(reads) == 1


async def test_the_next_scrape_sees_what_happened_meanwhile():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        metrics = metrics_of(it, [])
        it.send()
        assert b'distributary_waiting_batches{kind="http"} 1.0' in metrics.render()
        it.send(batches=2)
        it.clock.move(SNAPSHOT_S + 0.1)
        assert b'distributary_waiting_batches{kind="http"} 3.0' in metrics.render()
