"""How often sign-ins may fail before a client, or everybody, has to wait."""

import math
from collections import OrderedDict, deque
from typing import Final

WITHIN_S: Final = 60.0
MOST_OF_A_CLIENT: Final = 10
MOST_IN_ALL: Final = 100
MOST_CLIENTS: Final = 10_000


class FailureThrottle:
    """Counts failed sign-ins of the last minute, by client address and over all of them.

    A client over its own limit waits, even with the right token: otherwise it could go on to guess. Over the common limit
    all clients wait but those that signed in before, so that guessing from many addresses locks out none of them.
    Memory is bounded: of more than ``MOST_CLIENTS`` addresses the one heard of longest ago is forgotten.
    """

    def __init__(
        self, *, most_of_a_client: int = MOST_OF_A_CLIENT, most_in_all: int = MOST_IN_ALL, within_s: float = WITHIN_S
    ) -> None:
        self._most_of_a_client = most_of_a_client
        self._most_in_all = most_in_all
        self._within_s = within_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._all: deque[float] = deque(maxlen=most_in_all)

    def wait_s(self, client: str, now_s: float) -> float:
        """How long ``client`` must wait before it may try again; 0 where it need not. ``now_s`` never goes back."""
        own = self._left(self._failures.get(client, deque()), self._most_of_a_client, now_s)
        return own if client in self._known else max(own, self._left(self._all, self._most_in_all, now_s))

    def failed(self, client: str, now_s: float) -> None:
        """A sign-in of ``client`` failed."""
        own = self._failures.setdefault(client, deque(maxlen=self._most_of_a_client))
        self._failures.move_to_end(client)
        own.append(now_s)
        self._all.append(now_s)
        if len(self._failures) > MOST_CLIENTS:
            self._failures.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """A sign-in of ``client`` succeeded. Its failures still count: a token of one's own is no licence to guess others."""
        self._known[client] = None
        self._known.move_to_end(client)
        if len(self._known) > MOST_CLIENTS:
            self._known.popitem(last=False)

    def _left(self, failures: deque[float], most: int, now_s: float) -> float:
        # The oldest of the last `most` failures: when it is older than the span, one more try is free.
        return max(0.0, failures[0] + self._within_s - now_s) if len(failures) >= most else 0.0


def retry_after(wait_s: float) -> str:
    """The value of the header ``Retry-After``: whole seconds, at least one."""
    return str(max(1, math.ceil(wait_s)))
