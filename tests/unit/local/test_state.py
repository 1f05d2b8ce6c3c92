import json
import os

import pytest

from pipeline.errors import LocalServerError
from pipeline.local.process import ProcessMark
from pipeline.local.state import STATE_FILE, ServerState, State

ME = ProcessMark.of(os.getpid())


def test_what_was_saved_is_read_back(tmp_path):
    state = State({"kafka": ServerState((20001, 20002), ME, ME), "redis": ServerState((20003,))})
    state.save(tmp_path)
    assert State.load(tmp_path) == state


def test_a_folder_without_a_state_file_has_no_servers(tmp_path):
    assert State.load(tmp_path).of("kafka") == ServerState()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"version": 99, "servers": {}}',
        b'{"version": 1}',
        b'{"version": 1, "servers": {"kafka": {"ports": "20001", "supervisor": null, "server": null}}}',
        b'{"version": 1, "servers": {"kafka": {"ports": [70000], "supervisor": null, "server": null}}}',
        b'{"version": 1, "servers": {"kafka": {"ports": [20001], "supervisor": 7, "server": null}}}',
        b'{"version": 1, "servers": {"kafka": null}}',
    ],
)
def test_an_unreadable_state_file_reads_as_no_servers(tmp_path, content):
    (tmp_path / STATE_FILE).write_bytes(content)
    assert State.load(tmp_path) == State()


def test_a_folder_that_is_none_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LocalServerError, match=f"{tmp_path / 'file'}: .*set DISTRIBUTARY_HOME"):
        State.load(tmp_path / "file")


def test_a_server_runs_only_while_it_and_its_supervisor_do():
    assert ME is not None
    other_time = ProcessMark(ME.pid, "another start")
    assert ServerState((1,), ME, ME).is_running
    assert not ServerState((1,), ME, other_time).is_running
    assert not ServerState((1,), other_time, ME).is_running
    assert not ServerState((1,), None, ME).is_running
    assert ServerState((1,), ME, ME).stopped() == ServerState((1,))


def test_the_state_file_is_replaced_in_one_step(tmp_path):
    State({"redis": ServerState((20003,))}).save(tmp_path)
    State({"redis": ServerState((20004,))}).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    assert json.loads((tmp_path / STATE_FILE).read_text())["servers"]["redis"]["ports"] == [20004]
