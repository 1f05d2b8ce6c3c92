import signal
import subprocess
import sys
import time

import pytest

from agents.engine import lease
from agents.engine.lease import EXIT_STATUS, Lease


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


def test_who_was_asleep_for_too_long_ends_before_it_sends(clock: Clock) -> None:
    ends: list[None] = []
    watched = Lease(4.0, end=lambda: ends.append(None))
    clock.now_s += 4.5
    watched.check()
    assert len(ends) == 1


def test_who_was_asleep_for_a_moment_goes_on(clock: Clock) -> None:
    ends: list[None] = []
    watched = Lease(4.0, end=lambda: ends.append(None))
    clock.now_s += 3.5
    watched.check()
    assert not ends


def test_who_asks_is_awake_though_the_thread_has_not_come_to_say_so(clock: Clock) -> None:
    ends: list[None] = []
    watched = Lease(4.0, end=lambda: ends.append(None))
    for _ in range(3):
        clock.now_s += 3.5
        watched.check()
    assert not ends


def test_a_lease_that_is_stopped_ends_nobody(clock: Clock) -> None:
    ends: list[None] = []
    watched = Lease(4.0, end=lambda: ends.append(None))
    watched.stop()
    clock.now_s += 60.0
    watched.check()
    assert not ends


def test_a_process_that_was_stopped_and_goes_on_ends_at_once() -> None:
    program = (
        "import sys, time; from agents.engine.lease import Lease; Lease(0.5).start(); print(flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10.0) == EXIT_STATUS
