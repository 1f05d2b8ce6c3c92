import logging

import pytest

from pipeline.clock import ManualClock
from pipeline.logs.quiet import Quiet


def record(name: str, level: int, message: object, *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, message, args, None)


@pytest.mark.parametrize("name", ["pipeline.windows", "agents.route", "redis.client"])
def test_lines_of_the_project_and_of_others_pass(name):
    assert Quiet().filter(record(name, logging.INFO, "anything"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faust.tables.recovery", "[^----Recovery]: Recovery complete"),
        ("aiokafka.consumer.group_coordinator", "Joined group '%s' (generation %s) with member_id %s"),
        ("mode.worker", "[^Worker]: Signal received: Signals.SIGTERM (15)"),
    ],
)
def test_progress_of_the_libraries_passes(name, message):
    assert Quiet().filter(record(name, logging.INFO, message))


@pytest.mark.parametrize(
    "message", ["[^---Fetcher]: Starting...", "Executing _on_partitions_assigned", ValueError("x")]
)
def test_insides_of_the_libraries_do_not_pass_unless_asked_for(message):
    line = record("faust.transport.consumer", logging.INFO, message)
    assert not Quiet().filter(line)
    assert Quiet(is_detailed=True).filter(line)


def test_the_same_complaint_is_logged_once_in_a_while_with_how_often_it_came():
    clock = ManualClock()
    quiet = Quiet(pause_s=10, monotonic_s=clock.monotonic_s)

    def complain(node: int = 1) -> logging.LogRecord | None:
        line = record("aiokafka.client", logging.ERROR, "Unable connect to node with id %s", node)
        return line if quiet.filter(line) else None

    assert complain() is not None
    for _ in range(3):
        clock.move(1)
        assert complain(node=2) is None
    clock.move(10)
    later = complain()
    assert later is not None
    assert later.left_out == 3
    clock.move(10)
    assert not hasattr(complain(), "left_out")


def test_another_complaint_is_not_held_back():
    quiet = Quiet(monotonic_s=ManualClock().monotonic_s)
    assert quiet.filter(record("aiokafka", logging.ERROR, "one"))
    assert quiet.filter(record("aiokafka", logging.ERROR, "two"))
    assert quiet.filter(record("aiokafka", logging.WARNING, "one"))


def test_own_complaints_are_never_held_back():
    quiet = Quiet(monotonic_s=ManualClock().monotonic_s)
    assert all(quiet.filter(record("agents.route", logging.ERROR, "one")) for _ in range(3))


def test_ever_new_complaints_do_not_fill_the_memory():
    quiet = Quiet(monotonic_s=ManualClock().monotonic_s)
    for number in range(3000):
        quiet.filter(record("mode", logging.ERROR, f"complaint {number}"))
    assert len(quiet._last) <= 1000
