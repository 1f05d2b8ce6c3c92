"""How a webhook's secrets stay what they are through a change, and what rotation makes of them."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.errors import InvalidChangeError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.secrets import KEEP, restored
from pipeline.model.moments import format_time
from pipeline.model.units import DAY_S

USUAL_VALID_FOR_S: Final = 1.0 * DAY_S
LONGEST_VALID_FOR_S: Final = 30.0 * DAY_S

SECRET: Final = "secret"  # noqa: S105  the key
PREVIOUS_SECRET: Final = "previous_secret"  # noqa: S105  the key
PREVIOUS_UNTIL: Final = "previous_until"
_ALL: Final = (SECRET, PREVIOUS_SECRET, PREVIOUS_UNTIL)


def restored_webhook(settings: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with the ``stored`` secrets where they are kept: named by ``KEEP``, or not named at all.

    The secret before the current one goes where a new secret is written, or where it is given as empty. Raises
    ``InvalidChangeError`` for a secret to keep where none is stored.
    """
    whole = {**settings}
    if SECRET in stored:
        whole.setdefault(SECRET, KEEP)
    is_new = whole.get(SECRET) not in (KEEP, stored.get(SECRET))
    is_ended = PREVIOUS_SECRET in settings and not settings[PREVIOUS_SECRET]
    if is_ended:
        whole.pop(PREVIOUS_SECRET)
        whole.pop(PREVIOUS_UNTIL, None)
    elif not is_new:
        for key in (PREVIOUS_SECRET, PREVIOUS_UNTIL):
            if key in stored:
                whole.setdefault(key, stored[key])
    return {key: value for key, value in restored(whole, stored, WebhookSettings).items() if value is not None}


def rotated(settings: Mapping[str, Any], secret: str, *, valid_for_s: float, now_s: float) -> dict[str, Any]:
    """``settings`` with another ``secret``; the one until now is valid for ``valid_for_s`` seconds from ``now_s`` (UNIX seconds).

    With 0 it ends at once. Raises ``InvalidChangeError`` where it would be valid for too long.
    """
    if not 0 <= valid_for_s <= LONGEST_VALID_FOR_S:
        raise InvalidChangeError([("valid_for", f"must be 0s to {LONGEST_VALID_FOR_S / DAY_S:.0f}d")])
    kept = {key: value for key, value in settings.items() if key not in _ALL} | {SECRET: secret}
    if valid_for_s:
        kept |= {PREVIOUS_SECRET: settings[SECRET], PREVIOUS_UNTIL: format_time(round(now_s + valid_for_s))}
    return kept
