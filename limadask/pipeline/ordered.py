"""Steps that get frames in order: their state is one, and so is the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, Told, blank
from limadask.pipeline.tile import Tile, Value
from limadask.pipeline.turns import Turns
from limadask.task import Ordered, Products, State, Values, tabled


class OrderedStep(Step):
    """Takes frames in order into a state; what comes out is of those whose turn it was."""

    def __init__(self, node: PlannedNode, task: Ordered, before: OrderedStep | None = None) -> None:
        super().__init__(node)
        self._task, spec = task, node.inputs[0]
        self.turns: Turns = before.turns if before else Turns()
        self.state: State = before.state if before else task.init(spec)
        self._step = task.stepper(spec)
        self._step(task.init(spec), Frames.of(blank(spec)))  # compile before frames come

    def begin(self, first: int) -> None:
        """Be told the number of the first frame, where it is not 0."""
        self.turns.begin(first)

    def _replanned(self, node: PlannedNode) -> Step:
        return OrderedStep(node, self._task, self)

    def run(self, *inputs: Value) -> Value | Told | None:
        """Return what comes out of the frames whose turn has come; None where there are none."""
        value = inputs[0]
        value.contiguous()
        frames = self._frames(value)
        return self._collected(lambda work: self.turns.take(frames, work))

    def leave(self, span: tuple[int, int]) -> Sequence[Value | Told]:
        """Note that what has not come of a block will not, and take what waited for it."""
        if self.node.inputs[0].nb_merged > 1:  # sums have numbers of their own
            return ()
        left = self._collected(lambda work: self.turns.leave(*span, work))
        return () if left is None else (left,)

    def drain(self) -> Sequence[Value | Told]:
        """Take what still waits."""
        left = self._collected(self.turns.drain)
        return () if left is None else (left,)

    def products(self, collected: list[Any]) -> Values:
        """Name the columns of the tables."""
        if not isinstance(self.node.output, Products):
            raise TypeError(f"{self.label} must yield by-products")
        return tabled(self.node.output, np.concatenate(collected))

    def _collected(self, take: Callable[[Callable[[Frames], None]], None]) -> Value | Told | None:
        """Step through frames as they are handed over; return all that came out as one."""
        found: list[tuple[Frames, NDArray[Any]]] = []
        take(lambda frames: found.append((frames, self._step(self.state, frames))))
        if not found:
            return None
        out = found[0][1] if len(found) == 1 else np.concatenate([one for _, one in found])
        frames = found[0][0] if len(found) == 1 else Frames.joined([one for one, _ in found])
        tile = Tile(frames, slice(None))
        return Told(tile, out) if isinstance(self.node.output, Products) else Value(out, tile)
