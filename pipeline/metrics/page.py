"""The catalogue as a page of documentation."""

from collections.abc import Iterator

from pipeline.metrics.catalogue import MAX_INTEGRATION_LABELS, OTHER_INTEGRATIONS, SECTIONS, Kind, Merge, Metric, Unit

_HEAD = f"""\
# Metrics

<!-- Written by `make docs` from pipeline/metrics/catalogue.py; edit that instead. -->

Every worker serves them at `/metrics` on its web port, in Prometheus' text format. They are the worker's own: add them up
over workers, and add up a histogram's buckets before taking a percentile. Besides them stand the standard `process_*`
metrics (resident memory, CPU seconds, open files).

The label `integration` has at most {MAX_INTEGRATION_LABELS} values, the first integrations of the configuration; all others
are counted under `{OTHER_INTEGRATIONS}`. [What to alert on](operations.md#what-to-alert-on) names the ones that matter most.
"""


def metrics_page() -> str:
    """Give the whole page as Markdown."""
    parts = [_HEAD]
    for title, metrics in SECTIONS:
        parts.append(f"\n## {title}\n")
        parts.extend("\n".join(_section(metric)) + "\n" for metric in metrics)
    return "".join(parts)


def _section(metric: Metric) -> Iterator[str]:
    yield f"\n### `{metric.full_name}`\n"
    yield metric.meaning + "\n"
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    unit = "" if metric.unit is Unit.COUNT else f", in {metric.unit}"
    yield f"- {metric.kind}{unit}; labels: {labels}"
    if metric.kind is Kind.HISTOGRAM:
        yield "- buckets: " + ", ".join(f"{bound:g}" for bound in metric.buckets)
    if metric.merge is Merge.MAX and metric.labels != ("version",):
        yield "- over partitions and workers the largest one counts, not the sum"
