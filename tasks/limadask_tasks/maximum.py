"""The highest values of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.task import Products, State, Values
from limadask_tasks import running_kernels as kernels
from limadask_tasks.run_images import RunImages, Taker, counted, flat, shown


class Maximum(RunImages):
    """The highest value of each pixel in the run; one result with dims ``(band, y, x)``.

    It grows while the run goes on. NaN is left out; what is masked in all frames is the fill value.
    """

    def plan(self, spec: Spec) -> Products:
        """Predict an image of the frames' own type."""
        return self.planned(spec, {"maximum": spec.dtype})

    def init(self, spec: Spec) -> State:
        """Return the lowest values there are."""
        lowest = -np.inf if spec.dtype.kind == "f" else np.iinfo(spec.dtype).min
        return {**super().init(spec), "top": np.full(flat(spec), lowest, spec.dtype)}

    def taker(self, masked: NDArray[np.bool_]) -> Taker:
        """Return the compiled part of a step."""
        return lambda state, pixels: kernels.highest(pixels, masked, state["top"])

    def merge(self, states: Sequence[State]) -> State:
        """Keep the higher ones."""
        return {**counted(states), "top": np.maximum.reduce([state["top"] for state in states])}

    def result(self, state: State, spec: Spec) -> Values:
        """Return the image."""
        top = np.where(np.isneginf(state["top"]), np.nan, state["top"])
        return shown(spec, state, {"maximum": top.astype(spec.dtype)})
