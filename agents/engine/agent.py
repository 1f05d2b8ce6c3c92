"""The agent of a chunk topic, as far as it is not Faust's own."""

import inspect
from typing import Any

import faust

from agents.engine.topic import ChunkTopic
from pipeline.errors import UnsupportedFeatureError


class ChunkAgent(faust.Agent):
    """An agent that is Faust's own, but says so where a chunk topic is given what only single events can have."""

    def __init__(self, fun: Any, **options: Any) -> None:
        if isinstance(options.get("channel"), ChunkTopic):
            if options.get("isolated_partitions"):
                raise UnsupportedFeatureError(
                    "a chunk topic's agent gets the chunks of all partitions, each partition's in order: remove isolated_partitions and "
                    "keep apart what belongs to chunk.partition"
                )
            if inspect.isasyncgenfunction(fun):
                raise UnsupportedFeatureError(
                    "a chunk topic's agent yields nothing, as what it yields would not be waited for: send it with app.outbox and "
                    "chunk.follow instead"
                )
        super().__init__(fun, **options)
