import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import CATALOGUE, Kind, Metrics, catalogue
from pipeline.metrics.__main__ import PAGE
from pipeline.metrics.page import metrics_page


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((f"distributary_{name}", tuple(sorted(labels.items()))))


class TestCatalogue:
    def test_names_are_unique_and_say_kind_and_unit(self):
        assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
        for metric in CATALOGUE:
            assert re.fullmatch(r"[a-z][a-z_]*", metric.name)
            assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
            if metric.unit in ("seconds", "bytes"):
                assert metric.unit in metric.name

    def test_only_histograms_have_buckets_and_they_ascend(self):
        for metric in CATALOGUE:
            assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
            assert list(metric.buckets) == sorted(set(metric.buckets))

    def test_every_metric_defined_is_listed_in_a_section(self):
        defined = {value.name for value in vars(catalogue).values() if isinstance(value, catalogue.Metric)}
        assert defined == {metric.name for metric in CATALOGUE}

    def test_what_is_scraped_is_what_is_catalogued(self):
        metrics = Metrics("1")
        families = {family.name for family in text_string_to_metric_families(metrics.render().decode())}
        ours = {name for name in families if name.startswith("distributary_")}
        assert ours == {metric.full_name.removesuffix("_total") for metric in CATALOGUE}

    def test_the_page_is_what_the_catalogue_says(self):
        assert PAGE.read_text() == metrics_page(), "run `make docs`"

    def test_check_writes_nothing_and_is_content_with_a_current_page(self):
        before = PAGE.stat().st_mtime_ns
        done = subprocess.run([sys.executable, "-m", "pipeline.metrics", "--check"], cwd=PAGE.parents[1], check=False)
        assert done.returncode == 0
        assert PAGE.stat().st_mtime_ns == before


class TestCounting:
    def test_a_routed_chunk_counts_everywhere(self):
        metrics = Metrics("1")
        for _ in range(2):
            metrics.routed(events=10, matched=14, unmatched=3, frames=4)
        metrics.dead_letters({"not_json": 2, "too_large": 1})
        assert value(metrics, "source_events_total") == 20
        assert value(metrics, "matched_events_total") == 28
        assert value(metrics, "unmatched_events_total") == 6
        assert value(metrics, "routed_frames_total") == 8
        assert value(metrics, "dead_letters_total", reason="not_json") == 2

    def test_tries_after_the_first_are_retries(self):
        metrics = Metrics("1")
        metrics.attempted("crm", "http", "retry", 0.2)
        metrics.attempted("crm", "http", "delivered", 0.1, attempt=2)
        assert value(metrics, "attempts_total", integration="crm", kind="http", outcome="retry") == 1
        assert value(metrics, "attempts_total", integration="crm", kind="http", outcome="delivered") == 1
        assert value(metrics, "retries_total", integration="crm", kind="http") == 1
        assert value(metrics, "attempt_duration_seconds_count", kind="http") == 2

    def test_a_batch_ends_in_one_of_three_ways(self):
        metrics = Metrics("1")
        metrics.delivered("crm", "http", events=100, latency_s=0.04)
        metrics.parked("crm", "http", events=7)
        metrics.discarded("crm", "http", events=5)
        for way, events in (("delivered", 100), ("parked", 7), ("discarded", 5)):
            assert value(metrics, f"{way}_batches_total", integration="crm", kind="http") == 1
            assert value(metrics, f"{way}_events_total", integration="crm", kind="http") == events
        assert value(metrics, "delivery_latency_seconds_bucket", kind="http", le="0.05") == 1
        assert value(metrics, "delivery_latency_seconds_bucket", kind="http", le="0.025") == 0

    def test_the_rest_is_counted_under_its_labels(self):
        metrics = Metrics("1")
        metrics.sealed("count", batches=3, events=300)
        metrics.duplicates_skipped("window", 12)
        metrics.first_byte("http", 0.002)
        metrics.chunk("a-topic", records=500, size_bytes=200_000)
        metrics.changelog_written("windows", 4096)
        metrics.produced("routed", 1024)
        metrics.source_reset()
        assert value(metrics, "sealed_batches_total", reason="count") == 3
        assert value(metrics, "sealed_events_total", reason="count") == 300
        assert value(metrics, "duplicate_events_total", stage="window") == 12
        assert value(metrics, "first_byte_latency_seconds_bucket", kind="http", le="0.0025") == 1
        assert value(metrics, "chunks_total", topic="a-topic") == 1
        assert value(metrics, "chunk_records_sum", topic="a-topic") == 500
        assert value(metrics, "chunk_bytes_sum", topic="a-topic") == 200_000
        assert value(metrics, "changelog_bytes_total", table="windows") == 4096
        assert value(metrics, "source_resets_total") == 1
        assert value(metrics, "produced_bytes_total", topic="routed") == 1024

    def test_two_workers_in_one_process_do_not_share_counts(self):
        first, second = Metrics("1"), Metrics("1")
        first.routed(events=1, matched=1, unmatched=0, frames=1)
        assert value(second, "source_events_total") == 0

    def test_no_series_tells_when_another_was_made(self):
        assert b"_created" not in Metrics("1").render()


class TestIntegrationLabels:
    def test_integrations_beyond_the_limit_are_counted_together(self):
        metrics = Metrics("1", max_integration_labels=2)
        for integration in ("a", "b", "c", "d"):
            metrics.parked(integration, "http", events=1)
        metrics.parked("a", "http", events=1)
        assert value(metrics, "parked_events_total", integration="a", kind="http") == 2
        assert value(metrics, "parked_events_total", integration="other", kind="http") == 2
        assert value(metrics, "parked_events_total", integration="c", kind="http") is None

    def test_named_integrations_keep_their_label_whoever_counts_first(self):
        metrics = Metrics("1", max_integration_labels=2)
        metrics.name_integrations(["a", "b", "c"])
        for integration in ("c", "b"):
            metrics.parked(integration, "http", events=1)
        assert value(metrics, "parked_events_total", integration="b", kind="http") == 1
        assert value(metrics, "parked_events_total", integration="other", kind="http") == 1


class TestGauges:
    def test_a_gauge_is_read_when_it_is_scraped(self):
        metrics, lanes = Metrics("1"), [3]
        metrics.watch(catalogue.OPEN_WINDOWS, lambda: [((), lanes[0])])
        assert value(metrics, "open_windows") == 3
        lanes[0] = 5
        assert value(metrics, "open_windows") == 5

    def test_counts_of_several_partitions_are_added_and_ages_are_not(self):
        metrics = Metrics("1")
        for count, age_s in ((3, 60.0), (4, 20.0)):
            metrics.watch(catalogue.OPEN_WINDOWS, lambda count=count: [((), count)])
            metrics.watch(catalogue.OLDEST_WINDOW_AGE, lambda age_s=age_s: [((), age_s)])
        assert value(metrics, "open_windows") == 7
        assert value(metrics, "oldest_window_age_seconds") == 60.0

    def test_a_partition_that_left_is_not_read_any_more(self):
        metrics = Metrics("1")
        metrics.watch(catalogue.LAG, lambda: [(("t", "0"), 10)])
        unwatch = metrics.watch(catalogue.LAG, lambda: [(("t", "1"), 20)])
        unwatch()
        unwatch()
        assert value(metrics, "lag_records", topic="t", partition="0") == 10
        assert value(metrics, "lag_records", topic="t", partition="1") is None

    def test_only_a_gauge_can_be_watched(self):
        with pytest.raises(ValueError, match="distributary_attempts_total is a counter"):
            Metrics("1").watch(catalogue.ATTEMPTS, list)

    def test_the_version_is_told(self):
        assert value(Metrics("1.2.3"), "worker_info", version="1.2.3") == 1

    def test_memory_and_cpu_of_the_process_are_told(self):
        assert samples(Metrics("1"))["process_resident_memory_bytes", ()] > 0
