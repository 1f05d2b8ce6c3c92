"""Whether anything flows to streams and tables."""

from mode.utils.queues import FlowControlEvent


class ChunkFlowControl(FlowControlEvent):
    """Faust's flow control, which empties the queues when the flow begins again, and only then.

    Faust resumes several times in one recovery, and each time empties the queues also where the flow was on: what a changelog
    had brought for a standby in between was gone, and the rows after it were applied all the same.
    """

    def resume(self) -> None:
        """Let things flow, and drop what was left of the time before, unless they flow already."""
        if not self.is_active():
            super().resume()
