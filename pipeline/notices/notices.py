"""Where a worker's parts say what people should know, and where whoever sends it takes it from."""

import uuid
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from pipeline.clock import Clock
from pipeline.notices.notice import Cause, Notice
from pipeline.notices.rule import NoticeRule, Telling

log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 1_000
_LONGEST_DETAIL: Final = 1_000


def _unique_id() -> str:
    return uuid.uuid4().hex


class Notices:
    """The notices of one worker, held back by the rule and kept until they are taken.

    ``on_told`` is called with the cause of each that is to be sent, ``on_lost`` with how many were dropped because nobody
    took them. For use on the event loop; nothing here waits or raises.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        on_told: Callable[[Cause], None] = lambda _cause: None,
        on_lost: Callable[[int], None] = lambda _count: None,
        make_id: Callable[[], str] = _unique_id,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self._clock = clock
        self._on_told = on_told
        self._on_lost = on_lost
        self._make_id = make_id
        self._rule = NoticeRule()
        self._waiting: deque[Notice] = deque(maxlen=most_waiting)

    def tell(
        self, cause: Cause, integration: str | None, detail: str, *, subject: str = "", webhook: str | None = None
    ) -> None:
        """Something happened that people should know.

        ``subject`` names the one that it happened to, if there are several; ``webhook`` the inbound webhook that it is about.
        """
        now_s = self._clock.monotonic_s()
        telling = self._rule.tell(cause, integration, detail, now_s, subject=subject, webhook=webhook)
        if telling is not None:
            self._add(telling)

    def clear(self, cause: Cause, integration: str | None, *, subject: str = "", webhook: str | None = None) -> None:
        """It is over: what is held back of it is no longer true, and is dropped."""
        self._rule.clear(cause, integration, subject, webhook)

    def take(self) -> list[Notice]:
        """What is to be sent now."""
        for telling in self._rule.due(self._clock.monotonic_s()):
            self._add(telling)
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _add(self, telling: Telling) -> None:
        notice = Notice(
            id=self._make_id(),
            cause=telling.cause,
            at=self._clock.wall_s(),
            detail=telling.detail[:_LONGEST_DETAIL],
            integration=telling.integration,
            suppressed=telling.suppressed,
            webhook=telling.webhook,
        )
        log.warning(
            "notice",
            cause=notice.cause,
            integration=notice.integration,
            webhook=notice.webhook,
            detail=notice.detail,
            suppressed=notice.suppressed,
        )
        self._on_told(notice.cause)
        if len(self._waiting) == self._waiting.maxlen:
            self._on_lost(1)
        self._waiting.append(notice)
