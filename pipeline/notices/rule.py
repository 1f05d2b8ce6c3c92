"""Which notices are told: few enough to be read, and none that matters left out.

Pure; times are seconds of any one clock that does not go back. Of each cause and integration, or webhook, one is told an hour at most.
What came in between is counted, and told as one when the hour is over, so that the last word is not what was true an
hour ago. An end (a breaker that closed) is told whenever its beginning was, and otherwise not.
"""

from typing import Final, NamedTuple

from pipeline.notices.notice import CLOSES, Cause

PAUSE_S: Final = 3600.0

_OPENINGS: Final = frozenset(CLOSES.values())


class Telling(NamedTuple):
    """What is to be told, and how many of the same were not, since the last that was."""

    cause: Cause
    integration: str | None
    detail: str
    suppressed: int
    webhook: str | None = None


class NoticeRule:
    """Decides for one worker. Its memory is bounded by the integrations and lanes that there are."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._states: dict[_Whose, _State] = {}

    def tell(
        self,
        cause: Cause,
        integration: str | None,
        detail: str,
        now_s: float,
        *,
        subject: str = "",
        webhook: str | None = None,
    ) -> Telling | None:
        """Something happened: what is to be told of it now, if anything.

        ``subject`` says what began or ended where an integration has several of them, its lanes for instance.
        """
        whose = (cause, integration, webhook)
        state = self._state(whose)
        opening = CLOSES.get(cause)
        if opening is not None:
            if self._state((opening, integration, webhook)).untold.pop(subject, None) is None:
                return state.told(whose, detail, now_s)
            state.suppressed += 1
            return None
        if now_s >= state.next_at_s:
            if cause in _OPENINGS:
                state.untold.pop(subject, None)
            else:
                state.untold.clear()
            return state.told(whose, detail, now_s)
        state.suppressed += 1
        state.untold.pop(subject, None)  # the latest comes last
        state.untold[subject] = detail
        return None

    def clear(self, cause: Cause, integration: str | None, subject: str, webhook: str | None = None) -> None:
        """It is over for ``subject``: what is held back of it will not be told. It stays counted."""
        state = self._states.get((cause, integration, webhook))
        if state is not None:
            state.untold.pop(subject, None)

    def due(self, now_s: float) -> list[Telling]:
        """What was held back and is to be told now: the latest of each, unless it has ended meanwhile."""
        tellings = []
        for whose, state in self._states.items():
            if not state.untold or now_s < state.next_at_s:
                continue
            _, detail = state.untold.popitem()
            if whose[0] not in _OPENINGS:
                state.untold.clear()
            state.suppressed -= 1  # this one
            tellings.append(state.told(whose, detail, now_s))
        return tellings

    def _state(self, whose: "_Whose") -> "_State":
        state = self._states.get(whose)
        if state is None:
            state = self._states[whose] = _State(self._pause_s)
        return state


_Whose = tuple[Cause, str | None, str | None]
"""What a notice is about: its cause, and the integration or the webhook, if it is about one."""


class _State:
    """Of one cause and integration or webhook: ``untold`` holds the details of what was held back, by subject, the latest last."""

    __slots__ = ("next_at_s", "pause_s", "suppressed", "untold")

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.next_at_s = float("-inf")
        self.suppressed = 0
        self.untold: dict[str, str] = {}

    def told(self, whose: _Whose, detail: str, now_s: float) -> Telling:
        suppressed, self.suppressed = max(0, self.suppressed), 0
        self.next_at_s = now_s + self.pause_s
        cause, integration, webhook = whose
        return Telling(cause, integration, detail, suppressed, webhook)
