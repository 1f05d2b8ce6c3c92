"""Gauges that are read when they are scraped, from those who know: nothing is kept up to date in between."""

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipeline.metrics.catalogue import Kind, Merge, Metric

Reading = tuple[tuple[str, ...], float]
"""Label values in the metric's order, and the value."""
Read = Callable[[], Iterable[Reading]]
Unwatch = Callable[[], None]

_MERGES: dict[Merge, Callable[[float, float], float]] = {Merge.SUM: lambda a, b: a + b, Merge.MAX: max}


class Snapshots(Collector):
    """The gauges of a registry."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._reads: dict[Metric, list[Read]] = {metric: [] for metric in gauges}

    def watch(self, metric: Metric, read: Read) -> Unwatch:
        """Ask ``read`` at every scrape; gives what ends that. Raises ``ValueError`` where ``metric`` is no gauge."""
        reads = self._reads.get(metric)
        if reads is None:
            raise ValueError(f"{metric.full_name} is a {metric.kind}, only a {Kind.GAUGE} can be watched: see SECTIONS")
        reads.append(read)

        def unwatch() -> None:
            if read in reads:
                reads.remove(read)

        return unwatch

    def describe(self) -> Iterable[NoReturn]:
        """Say nothing in advance, so that registering asks nobody."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read everyone now."""
        for metric, reads in self._reads.items():
            family = GaugeMetricFamily(metric.full_name, metric.meaning, labels=metric.labels)
            for labels, value in _merged(metric, reads).items():
                family.add_metric(labels, value)
            yield family


def _merged(metric: Metric, reads: Iterable[Read]) -> dict[tuple[str, ...], float]:
    merge = _MERGES[metric.merge]
    values: dict[tuple[str, ...], float] = {}
    for read in reads:
        for labels, value in read():
            values[labels] = merge(values[labels], value) if labels in values else value
    return values
