from typing import get_args

import pytest

from pipeline.sinks.base import SinkSpec
from pipeline.sinks.registry import SINKS, spec_of


def test_every_kind_is_listed_once() -> None:
    kinds = [spec.kind for spec in SINKS]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_a_kind_leads_to_its_spec_and_its_settings_know_it(spec: SinkSpec) -> None:
    assert spec_of(spec.kind) is spec
    assert get_args(spec.settings.model_fields["kind"].annotation) == (spec.kind,)
    assert spec.summary.endswith(".")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        spec_of("carrier-pigeon")


@pytest.mark.parametrize(("body", "most", "unit"), [("array", 100, "requests"), ("object", 5, "events")])
def test_where_each_event_is_a_request_the_rate_counts_events_and_batches_fit_its_burst(
    body: str, most: int, unit: str
) -> None:
    settings = spec_of("http").settings.model_validate(
        {
            "id": "crm",
            "kind": "http",
            "url": "https://a.example/",
            "events": "*",
            "platforms": "*",
            "body": body,
            "rate": {"per_second": 5},
        }
    )
    assert settings.seal_limits.max_events == most
    assert settings.counted_rate is not None
    assert settings.counted_rate.unit == unit
