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
