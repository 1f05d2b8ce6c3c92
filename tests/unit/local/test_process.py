import os
import signal
import subprocess
import sys

from pipeline.local.process import ProcessMark, wait_until


def sleeper(*statements: str) -> subprocess.Popen:
    code = "; ".join([*statements, "print('ready', flush=True)", "import time", "time.sleep(60)"])
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    return child


def test_a_process_is_known_by_its_id_and_its_start():
    mark = ProcessMark.of(os.getpid())
    assert mark == ProcessMark.of(os.getpid())
    assert mark.is_alive


def test_a_recycled_id_is_another_process_and_gets_no_signal():
    with sleeper() as child:
        recycled = ProcessMark(child.pid, "an earlier start")
        assert not recycled.is_alive
        recycled.signal(signal.SIGKILL)
        recycled.stop(1.0)
        assert child.poll() is None
        child.kill()


def test_a_process_that_ended_but_was_not_collected_is_gone():
    with sleeper() as child:
        mark = ProcessMark.of(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        assert mark.wait(5.0)
        assert ProcessMark.of(child.pid) is None


def test_stop_asks_first():
    with sleeper("import signal, sys", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))") as child:
        ProcessMark.of(child.pid).stop(5.0)
        assert child.wait(5) == 7


def test_stop_kills_what_does_not_listen():
    with sleeper("import signal", "signal.signal(signal.SIGTERM, signal.SIG_IGN)") as child:
        ProcessMark.of(child.pid).stop(0.1)
        assert child.wait(5) == -signal.SIGKILL


def test_stop_ends_a_paused_process():
    with sleeper() as child:
        child.send_signal(signal.SIGSTOP)
        ProcessMark.of(child.pid).stop(5.0)
        assert child.wait(5) == -signal.SIGTERM


def test_waiting_ends_with_the_answer_or_the_time():
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 5.0, pause_s=0.001)
    assert not wait_until(lambda: False, 0.01, pause_s=0.001)
