"""How long each node has worked in one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limadask.pipeline.timing import seconds_by_node

NODES = 256
"""Names of nodes whose time is known: those that were at work last."""


class NodeSeconds:
    """Adds up the seconds of each node over all blocks of all acquisitions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """By name."""
        self.blocks = 0
        """How many blocks these are."""

    def take(self, receipt: Mapping[str, Any]) -> None:
        """Take the times of a block, if it was processed."""
        if not (times := receipt.get("times")):
            return
        self.blocks += 1
        for node, lasted in seconds_by_node(receipt["stages"], times).items():
            self.seconds[node] = self.seconds.pop(node, 0.0) + lasted  # last at work, last in it
        while len(self.seconds) > NODES:
            del self.seconds[next(iter(self.seconds))]
