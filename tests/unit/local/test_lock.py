import subprocess
import sys

import pytest

from pipeline.errors import LocalServerError
from pipeline.local.lock import locked

HOLDER = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_that_another_process_holds_is_an_error_after_the_time(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLDER, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LocalServerError, match="another process has held this lock"), locked(path, timeout_s=0.1):
            pass
        holder.kill()
        holder.wait()
        with locked(path, timeout_s=5.0):
            pass


def test_a_lock_is_free_after_an_error_in_its_block(tmp_path):
    path = tmp_path / "made" / "lock"
    with pytest.raises(KeyError), locked(path, timeout_s=0.1):
        raise KeyError
    with locked(path, timeout_s=0.1):
        pass
