"""Steps that get frames in order: their state is one, and so is the worker."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, blank
from limadask.pipeline.tile import Value
from limadask.pipeline.turns import Turns
from limadask.task import Ordered, Products, State, Values, tabled


class OrderedStep(Step):
    """Takes frames into a state, in their order."""

    has_state: ClassVar[bool] = True

    def __init__(
        self, node: PlannedNode, task: Ordered, turns: Turns, before: OrderedStep | None = None
    ) -> None:
        super().__init__(node)
        self._task, self._turns, spec = task, turns, node.inputs[0]
        self.order: Order = before.order if before else Order()
        self.state: State = before.state if before else task.init(spec)
        self._step = task.stepper(spec)
        self._step(task.init(spec), Frames.of(blank(spec)))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return OrderedStep(node, self._task, self._turns, self)

    def run(self, *inputs: Value) -> Value | NDArray[Any]:
        """Return what comes out, when all frames before have been taken."""
        value = inputs[0]
        value.contiguous()
        frames = self._frames(value)
        self._turns.wait()
        self.order.check(frames)
        out = self._step(self.state, frames)
        self.order.note(frames)
        return out if isinstance(self.node.output, Products) else Value(out, value.tile)

    def products(self, collected: list[Any]) -> Values:
        """Name the columns of the tables."""
        if not isinstance(self.node.output, Products):
            raise TypeError(f"{self.label} must yield by-products")
        return tabled(self.node.output, np.concatenate(collected))


class Order:
    """How far a state has come."""

    def __init__(self) -> None:
        self._next = 0

    def check(self, frames: Frames) -> None:
        """Refuse frames that come after later ones.

        Raises
        ------
        ValueError
            When they do.
        """
        if len(frames) and frames.numbers[0] < self._next:
            raise ValueError(
                f"frame {int(frames.numbers[0])} came after frame {self._next - 1} was taken"
            )

    def note(self, frames: Frames) -> None:
        """Note that frames were taken."""
        if len(frames):
            self._next = int(frames.numbers[-1]) + 1
