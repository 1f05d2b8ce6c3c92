"""What the end of a stream means."""

import grpc
import pytest

from pipeline.model.attempt import Hint, Verdict
from pipeline.sinks.grpc_ending import Ending, ending_of, one_line, pause_s

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def ended(code: grpc.StatusCode, words: str) -> Ending:
    return ending_of(code, words, {}, place="a.example:443", now_s=0.0)


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("SERVER: Received message larger than max (5000000 vs. 4194304)", 4194304),
        ("grpc: received message larger than max (5000000 vs. 4194304)", 4194304),
        ("gRPC message exceeds maximum size 4194304: 5000000", 4194304),
    ],
)
def test_the_largest_message_that_a_receiver_takes_is_read_from_its_words(words: str, limit: int) -> None:
    ending = ended(EXHAUSTED, words)
    assert (ending.verdict, ending.hint, ending.message_limit_bytes) == (Verdict.RETRY, None, limit)


@pytest.mark.parametrize(
    "words",
    [
        "Received message exceeds the maximum configured message size.",
        f"Received message larger than max (1 vs. {'9' * 4400})",
        f"gRPC message exceeds maximum size {'9' * 4400}: 5000000",
    ],
)
def test_a_limit_that_is_not_named_asks_for_smaller_parts(words: str) -> None:
    ending = ended(EXHAUSTED, words)
    assert (ending.verdict, ending.hint, ending.message_limit_bytes) == (Verdict.REFUSED, Hint.TOO_LARGE, None)


@pytest.mark.parametrize(
    "words", ["quota used up", "", "Stream removed (CLIENT: Received message larger than max (9 vs. 4))"]
)
def test_any_other_exhaustion_asks_for_less_at_once(words: str) -> None:
    ending = ended(EXHAUSTED, words)
    assert (ending.verdict, ending.hint, ending.message_limit_bytes) == (Verdict.RETRY, Hint.THROTTLED, None)


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:443: connect: Connection refused",
            "connection refused by a.example:443",
        ),
        (
            "failed to connect to all addresses; last error: UNAVAILABLE: ipv6:%5B::1%5D:443: Socket closed",
            "no connection to a.example:443: Socket closed",
        ),
        ("failed to connect to all addresses; last error: X: strange", "no connection to a.example:443: strange"),
        ("busy\r\n\x1b[31mred", "the stream ended with UNAVAILABLE: busy [31mred"),
        ("", "the stream ended with UNAVAILABLE"),
    ],
)
def test_an_unavailable_server_is_described(words: str, detail: str) -> None:
    assert ended(grpc.StatusCode.UNAVAILABLE, words).detail == detail


def test_a_pause_in_bytes_is_no_pause() -> None:
    assert pause_s({"retry-after": b"7", "grpc-retry-pushback-ms": b"7"}, now_s=0.0) is None


def test_a_long_text_is_cut() -> None:
    assert one_line("x" * 1000) == "x" * 199 + "…"
