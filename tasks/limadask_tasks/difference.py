"""What has changed since the frame before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Spec
from limadask.task import Ordered, OrderedStepper, State
from limadask_tasks.dtypes import difference_dtype


class Difference(Ordered):
    """Subtract from every frame the one before it, as far as it is there; the first becomes 0.

    Integers become wide enough for every difference. A pixel that the frame before lacks is
    compared with the last frame that has it.
    """

    def plan(self, spec: Spec) -> Spec:
        """Predict the type of the differences."""
        return spec.replace(dtype=difference_dtype(spec.dtype, spec.dtype))

    def init(self, spec: Spec) -> State:
        """Return the state before the first frame: no pixel is known."""
        shape = spec.frame_shape
        return {"before": np.zeros(shape, spec.dtype), "known": np.zeros(shape, bool)}

    def stepper(self, spec: Spec) -> OrderedStepper:
        """Return the function that subtracts."""
        planned = self.plan(spec)
        there = np.ones(spec.frame_shape, bool)
        if spec.masked is not None:
            there &= ~spec.masked

        def step(state: State, frames: Frames) -> NDArray[Any]:
            pixels = frames.pixels
            before = np.concatenate([state["before"][np.newaxis], pixels[:-1]])
            np.copyto(before[0], pixels[0], where=~state["known"])
            out: NDArray[Any] = np.subtract(pixels, before, dtype=planned.dtype)
            np.copyto(out, planned.fill, where=~there)
            np.copyto(state["before"], pixels[-1], where=there)
            state["known"] |= there
            return out

        return step
