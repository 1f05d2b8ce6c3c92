"""What a worker measures: one catalogue, the Prometheus objects made from it, and its page of documentation."""

from pipeline.metrics.catalogue import CATALOGUE, Kind, Merge, Metric, Unit
from pipeline.metrics.metrics import CONTENT_TYPE, Metrics

__all__ = ["CATALOGUE", "CONTENT_TYPE", "Kind", "Merge", "Metric", "Metrics", "Unit"]
