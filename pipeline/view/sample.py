"""A webhook's sample payload, which may be what a person has sent, as those who may not see personal data see it."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from pipeline.view.columns import Personal
from pipeline.view.mask_payload import payload_text

_SAMPLE: Final = "sample"


def mask_webhook(settings: Mapping[str, Any], masks: Collection[Personal]) -> dict[str, Any]:
    """A webhook's ``settings``, which hold no secrets any more, with its sample masked."""
    sample = settings.get(_SAMPLE)
    if not masks or not isinstance(sample, str):
        return dict(settings)
    return {**settings, _SAMPLE: payload_text(sample, masks)}


def unmask_webhook(
    settings: Mapping[str, Any], stored: Mapping[str, Any], masks: Collection[Personal]
) -> dict[str, Any]:
    """``settings`` that somebody sends, with the ``stored`` sample where theirs is what they were shown of it."""
    sent, sample = settings.get(_SAMPLE), stored.get(_SAMPLE)
    is_as_shown = (
        bool(masks)
        and isinstance(sent, str)
        and isinstance(sample, str)
        and sent.strip() == payload_text(sample, masks).strip()
    )
    return {**settings, _SAMPLE: sample} if is_as_shown else dict(settings)
