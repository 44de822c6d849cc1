"""The mean of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.task import Products, State, Values
from limadask_tasks import running_kernels as kernels
from limadask_tasks.run_images import RunImages, Taker, counted, flat, shown, times_in


class Mean(RunImages):
    """Mean and sum of all frames of the run, pixel by pixel; ``frames`` tells how many these are.

    One result with dims ``(band, y, x)``, growing while the run goes on. Pixels that single frames
    lack are left out of both; those that are masked in all frames are NaN. Sums of integers are
    exact.
    """

    def plan(self, spec: Spec) -> Products:
        """Predict images of float64; sums of integers stay such until the end."""
        return self.planned(spec, {"mean": np.dtype("f8"), "sum": np.dtype("f8")})

    def init(self, spec: Spec) -> State:
        """Return empty sums."""
        dtype = np.int64 if spec.dtype.kind in "iu" else np.float64
        return {**super().init(spec), "total": np.zeros(flat(spec), dtype)}

    def taker(self, masked: NDArray[np.bool_]) -> Taker:
        """Return the compiled part of a step."""
        return lambda state, pixels: kernels.add(pixels, masked, state["total"])

    def merge(self, states: Sequence[State]) -> State:
        """Add up."""
        return {**counted(states), "total": np.add.reduce([state["total"] for state in states])}

    def result(self, state: State, spec: Spec) -> Values:
        """Return the images."""
        total = state["total"].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / times_in(state)
        return shown(spec, state, {"mean": mean, "sum": total})
