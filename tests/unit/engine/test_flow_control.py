"""What waits in the queues of streams and tables is dropped when the flow begins again, and at no other time."""

from pathlib import Path

import pytest

from tests.support.chunk_worker import make_app


@pytest.mark.parametrize(("is_stopped_between", "left"), [(False, 1), (True, 0)])
def test_only_a_flow_that_was_stopped_begins_with_empty_queues(tmp_path: Path, *, is_stopped_between: bool, left: int):
    app = make_app("flowing", "127.0.0.1:1", tmp_path)
    queue = app.FlowControlQueue(maxsize=1, clear_on_resume=True)
    app.flow_control.resume()
    queue.put_nowait("row")

    if is_stopped_between:
        app.flow_control.suspend()
    app.flow_control.resume()

    assert (queue.qsize(), app.flow_control.is_active()) == (left, True)
