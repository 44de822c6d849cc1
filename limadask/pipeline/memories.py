"""Where the results of steps lie: in memory used again for each tile, wherever the plan allows."""

from __future__ import annotations

from functools import partial

import numpy as np

from limadask.frames import Spec
from limadask.memory import BufferPool, Memory, Scratch
from limadask.parameters import OnError
from limadask.pipeline.plan import Plan, PlannedNode
from limadask.task import (
    Accumulating,
    Conversion,
    FunctionVeto,
    Ordered,
    PixelTask,
    Reduction,
    Running,
    Sink,
    Veto,
    ViewTask,
)

KEPT, MOST_KEPT = 2, 64
"""Tiles that there is memory for where a sink keeps them until it writes: at first, and at most."""


class Memories:
    """Chooses the memory of each node's results.

    - *New* memory for what user code gets and might keep.
    - A *pool* for what a sink keeps until it writes: slots come back by themselves.
    - *Scratch* of the thread for all else, that of the node before where a task works in place.

    Parameters
    ----------
    plan:
        What is to be done.
    on_error:
        What happens when a task raises whose node does not say.
    uuid:
        The acquisition.
    fresh:
        Whether all results get new memory.
    tile:
        Frames handled at a time.
    """

    def __init__(self, plan: Plan, on_error: OnError, uuid: str, fresh: bool, tile: int) -> None:
        self._plan, self._on_error, self._uuid = plan, on_error, uuid
        self._fresh, self._tile = fresh, tile
        self._scratch: dict[str, Scratch] = {}

    def of(self, node: PlannedNode) -> Memory:
        """Return the memory of a node's results."""
        if self._fresh or _may_be_kept(node, self._plan):
            return np.empty
        if self._sink_keeps(node):
            output = node.output
            nbytes = self._tile * output.frame_nbytes if isinstance(output, Spec) else 0
            pool = BufferPool(
                KEPT, nbytes, None, "scratch", self._uuid, node.name, ceiling=MOST_KEPT
            )
            return pool.array
        (before, *_) = node.after
        known = self._scratch.get(before) if self.is_in_place(node) else None
        scratch = self._scratch[node.name] = known or Scratch()
        return partial(scratch.array, None)

    def is_in_place(self, node: PlannedNode) -> bool:
        """Tell whether a node may write its result over what it gets.

        Nobody else may need that, neither another node nor a second attempt, and each pixel must
        come out where, and as large as, it went in.
        """
        given, output, task = node.inputs[0], node.output, node.task
        return (
            isinstance(task, PixelTask)
            and task.in_place
            and (node.on_error or self._on_error) != "retry"
            and isinstance(output, Spec)
            and (output.frame_shape, output.dtype) == (given.frame_shape, given.dtype)
            and len(self._plan.children(node.after[0])) == 1
            and node.after[0] in self._scratch
            and isinstance(self._node(node.after[0]).task, PixelTask)
        )

    def lasts(self, name: str) -> bool:
        """Tell whether what a node yields stays as it is until its block has been written."""
        if name == self._plan.source:
            return True
        node = self._node(name)
        if isinstance(node.task, ViewTask | Veto):
            return self.lasts(node.after[0])
        return isinstance(node.task, Accumulating | PixelTask)

    def _sink_keeps(self, node: PlannedNode) -> bool:
        """Tell whether a sink gets the node's memory, or a view of it, and keeps it."""
        return any(
            self._sink_keeps(child)
            if isinstance(child.task, ViewTask | Veto)
            else isinstance(child.task, Sink) and child.task.may_keep
            for child in self._plan.children(node.name)
        )

    def _node(self, name: str) -> PlannedNode:
        return next(node for node in self._plan.before + self._plan.nodes if node.name == name)


def _may_be_kept(node: PlannedNode, plan: Plan) -> bool:
    """Tell whether user code gets the node's memory, or a view of it, and might keep it."""
    safe = PixelTask | Reduction | Running | Ordered | Accumulating | Conversion | Sink
    return any(
        _may_be_kept(child, plan)
        if isinstance(child.task, ViewTask | Veto) and not isinstance(child.task, FunctionVeto)
        else not isinstance(child.task, safe)
        for child in plan.children(node.name)
    )
