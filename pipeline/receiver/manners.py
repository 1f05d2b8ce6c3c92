"""How a receiver treats its callers, from well to badly."""

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

Number = TypeVar("Number", int, float)
Ending = Literal["answer", "reset", "garbage", "redirect", "never", "drip"]


@dataclass(frozen=True, slots=True)
class Manners:
    """What happens to a request, in this order.

    At most ``throttle_per_s`` requests a second pass (0: all), others get a 429 with ``Retry-After``; then ``stall_s``
    seconds go by; then a share ``fail_share`` (0 to 1) of requests is answered with ``fail_status``; the rest meets its
    ``ending``: a good answer, whose body has ``answer_bytes`` bytes, or one of the bad ones. ``partial_share`` is the
    share of events that a good answer names as failed; its body is then the JSON that names them.
    """

    throttle_per_s: float = 0.0
    stall_s: float = 0.0
    fail_share: float = 0.0
    fail_status: int = 503
    ending: Ending = "answer"
    answer_bytes: int = 2
    partial_share: float = 0.0

    @property
    def are_good(self) -> bool:
        """Whether every request simply gets its answer."""
        return self == GOOD


GOOD: Final = Manners()

PATHS: Final = {
    "/fail/STATUS": "answer with STATUS; /fail/STATUS/SHARE does so to that share of requests (0 to 1)",
    "/partial/SHARE": "take a delivery without that share of its events (0 to 1), and name these as failed",
    "/stall/SECONDS": "answer only after SECONDS",
    "/throttle/N": "let N requests a second pass, answer 429 with Retry-After to the others",
    "/large/BYTES": "answer with a body of BYTES",
    "/drip": "answer 200, then one byte of the body a second",
    "/redirect": "redirect to the same path",
    "/reset": "break the connection off",
    "/garbage": "answer with bytes that are not HTTP",
    "/never": "never answer",
}
"""The paths that ask for bad manners, on any receiver; more may follow behind them."""


def manners_of(path: str, default: Manners = GOOD) -> Manners:  # noqa: PLR0911  one line a word
    """The manners that ``path`` asks for, or ``default`` where it asks for none.

    Raises ``ValueError`` where the path's number cannot be read or makes no sense.
    """
    word, *rest = path.partition("?")[0].lstrip("/").split("/")
    try:
        match word:
            case "fail":
                share = float(rest[1]) if len(rest) > 1 and _is_number(rest[1]) else 1.0
                return dataclasses.replace(
                    default, fail_status=_between(int(rest[0]), 200, 599), fail_share=_between(share, 0, 1)
                )
            case "partial":
                return dataclasses.replace(default, partial_share=_between(float(rest[0]), 0, 1))
            case "stall":
                return dataclasses.replace(default, stall_s=_between(float(rest[0]), 0, 86_400))
            case "throttle":
                return dataclasses.replace(default, throttle_per_s=_between(float(rest[0]), 0.001, 1e9))
            case "large":
                return dataclasses.replace(default, answer_bytes=_between(int(rest[0]), 0, 1 << 40))
            case "drip" | "redirect" | "reset" | "garbage" | "never":
                return dataclasses.replace(default, ending=word)
            case _:
                return default
    except (ValueError, IndexError):
        raise ValueError(f"/{word} needs a number that makes sense behind it, see {list(PATHS)}") from None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _between(value: Number, least: float, most: float) -> Number:
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value
