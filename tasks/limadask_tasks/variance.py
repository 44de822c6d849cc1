"""The variance of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.task import Products, State, Values
from limadask_tasks import running_kernels as kernels
from limadask_tasks.run_images import RunImages, Taker, counted, flat, shown, times_in


class Variance(RunImages):
    """Mean and variance of all frames of the run, pixel by pixel.

    One result with dims ``(band, y, x)``, growing while the run goes on, without the loss of digits
    of a sum of squares; merged as T. F. Chan, G. H. Golub and R. J. LeVeque (1979) do.
    """

    ddof: Literal[0, 1] = 0
    """What is taken from the number of frames to divide by: 1 for an estimate from a sample."""

    def plan(self, spec: Spec) -> Products:
        """Predict images of float64."""
        return self.planned(spec, {"mean": np.dtype("f8"), "variance": np.dtype("f8")})

    def init(self, spec: Spec) -> State:
        """Return empty means and sums of squares."""
        shape = flat(spec)
        return {**super().init(spec), "mean": np.zeros(shape), "squares": np.zeros(shape)}

    def taker(self, masked: NDArray[np.bool_]) -> Taker:
        """Return the compiled part of a step."""

        def take(state: State, pixels: NDArray[Any]) -> None:
            count = int(state["count"])
            kernels.spread(pixels, masked, count, state["missing"], state["mean"], state["squares"])

        return take

    def merge(self, states: Sequence[State]) -> State:
        """Merge two by two."""
        merged = states[0]
        for state in states[1:]:
            merged = _merged(merged, state)
        return merged

    def result(self, state: State, spec: Spec) -> Values:
        """Return the images."""
        times = times_in(state)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.where(times > self.ddof, state["squares"] / (times - self.ddof), np.nan)
        mean = np.where(times > 0, state["mean"], np.nan)
        return shown(spec, state, {"mean": mean, "variance": variance})


def _merged(one: State, other: State) -> State:
    first, second = (np.asarray(times_in(state), np.float64) for state in (one, other))
    both = first + second
    difference = other["mean"] - one["mean"]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(both > 0, second / both, 0.0)
    squares = one["squares"] + other["squares"] + difference**2 * (first * part)
    return {**counted((one, other)), "mean": one["mean"] + difference * part, "squares": squares}
