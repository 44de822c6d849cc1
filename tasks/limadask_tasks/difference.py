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

    Integers become wide enough for every difference. Where single pixels are missing from one of
    the two, the difference has the fill value.
    """

    def plan(self, spec: Spec) -> Spec:
        """Predict the type of the differences."""
        return spec.replace(dtype=difference_dtype(spec.dtype, spec.dtype))

    def init(self, spec: Spec) -> State:
        """Return the state before the first frame: none before it."""
        before = np.zeros(spec.frame_shape, spec.dtype)
        return {"before": before, "lacks": np.zeros((), bool), "count": np.zeros((), np.int64)}

    def stepper(self, spec: Spec) -> OrderedStepper:
        """Return the function that subtracts."""
        planned = self.plan(spec)

        def step(state: State, frames: Frames) -> NDArray[Any]:
            pixels = frames.pixels
            before = np.concatenate([state["before"][np.newaxis], pixels[:-1]])
            if not state["count"]:
                before[:1] = pixels[:1]
            out: NDArray[Any] = np.subtract(pixels, before, dtype=planned.dtype)
            lacks = np.zeros(spec.frame_shape, bool)
            if spec.masked is not None:
                lacks |= spec.masked
            unknown = lacks | state["lacks"]
            if (
                unknown.any()
            ):  # of what is before the first of these frames; the others lack `lacks`
                np.copyto(out[:1], planned.fill, where=unknown)
                np.copyto(out[1:], planned.fill, where=lacks)
            state["before"], state["lacks"] = pixels[-1].copy(), lacks
            state["count"] += len(frames)
            return out

        return step
