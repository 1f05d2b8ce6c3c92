"""Every kind of sink, in the order in which people are shown them. Adding a sink is adding a line here."""

from pipeline.sinks import email, grpc, http, segment, xtremepush
from pipeline.sinks.base import SinkSpec

SINKS: tuple[SinkSpec, ...] = (http.SPEC, grpc.SPEC, email.SPEC, xtremepush.SPEC, segment.SPEC)

_BY_KIND = {spec.kind: spec for spec in SINKS}


def spec_of(kind: str) -> SinkSpec:
    """The sink that ``kind`` names in ``faust.yml``; raises ``KeyError`` where there is none."""
    return _BY_KIND[kind]
