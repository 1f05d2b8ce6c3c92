"""When an operator is told that the broker is silent."""

from structlog.testing import capture_logs

from agents.engine.silence import Silence


def told(silence: Silence, *moments_s: float) -> list[tuple[float, str]]:
    found = []
    for now_s in moments_s:
        with capture_logs() as lines:
            silence.look(now_s)
        found += [(now_s, line["log_level"]) for line in lines]
    return found


def test_a_silence_is_told_after_ten_seconds_and_then_ever_more_rarely() -> None:
    silence = Silence()
    silence.sent("batch", "routed", 3, 100.0)
    assert told(silence, *range(100, 200, 5)) == [
        (110, "warning"),
        (120, "warning"),
        (140, "warning"),
        (180, "warning"),
    ]


def test_its_end_is_told_once_and_the_next_one_anew() -> None:
    silence = Silence()
    silence.sent("batch", "routed", 3, 0.0)
    assert told(silence, 15.0) == [(15.0, "warning")]
    silence.answered("batch")
    assert told(silence, 16.0, 17.0) == [(16.0, "info")]
    silence.sent("next", "routed", 3, 20.0)
    assert told(silence, 29.0, 30.0) == [(30.0, "warning")]


def test_a_partition_that_waits_is_told_of_while_others_go_on() -> None:
    silence = Silence()
    silence.sent("stuck", "routed", 3, 0.0)
    for second in range(1, 11):
        silence.sent(second, "routed", 1, float(second))
        silence.answered(second)
    with capture_logs() as lines:
        silence.look(10.0)
    assert [(line["topic"], line["partition"], line["silent_s"]) for line in lines] == [("routed", 3, 10)]


def test_nothing_is_told_while_answers_come() -> None:
    silence = Silence()
    for second in range(60):
        silence.sent(second, "routed", 0, float(second))
        assert told(silence, second + 0.5) == []
        silence.answered(second)
