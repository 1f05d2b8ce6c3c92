"""Durable batch windows: every lane a numbered sequence, its newest events gathered until count, bytes or age seals them.

Everything here is synchronous and without I/O. ``WindowStage`` holds one routed partition; an agent feeds it frames and
ticks, sends the batches that it takes from it, and then writes the rows.
"""
