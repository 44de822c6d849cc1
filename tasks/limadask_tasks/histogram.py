"""How often each value occurs in a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import PositiveInt

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.task import Products, Running, State, Stepper, Values, Variable
from limadask_tasks import running_kernels as kernels
from limadask_tasks.correction import as_coefficients


class Histogram(Running):
    """How often each value occurs in all frames of the run, by band.

    One result with dims ``(band, bin)``, growing while the run goes on: ``count``, and of what lies
    outside ``below`` and ``above``, ``(band,)``. Masked pixels and NaN are left out. The coordinate
    ``value`` is the centre of a bin; the upper edge belongs to the last one.
    """

    bins: PositiveInt = 100
    """How many there are."""
    low: float = 0.0
    """Lower edge of the first bin."""
    high: float
    """Upper edge of the last bin."""

    def plan(self, spec: Spec) -> Products:
        """Predict counts; refuse bins without a width."""
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                "these edges leave no bins between them",
                field="high",
                value=self.high,
                allowed=f"a finite number above low, {self.low}",
            )
        edges = np.linspace(self.low, self.high, self.bins + 1)
        whole, counts = np.dtype("i8"), ("band", "bin")
        variables = {
            "count": Variable(counts, whole),
            "below": Variable(("band",), whole),
            "above": Variable(("band",), whole),
            "frames": Variable((), whole),
        }
        coordinates = {
            "band": (("band",), list(spec.bands)),
            "value": (("bin",), (edges[1:] + edges[:-1]) / 2),
        }
        return Products(variables, coordinates, running=self)

    def init(self, spec: Spec) -> State:
        """Return empty bins, one more on either side."""
        counts = np.zeros((len(spec.bands), self.bins + 2), np.int64)
        return {"count": np.zeros((), np.int64), "bins": counts}

    def stepper(self, spec: Spec, lacks: bool = False) -> Stepper:
        """Return the function that takes frames in, and counts them."""
        masked = kernels.no_mask()
        if spec.masked is not None:
            masked = as_coefficients(spec.masked, spec)
        width = (self.high - self.low) / self.bins

        def step(state: State, frames: Frames) -> None:
            kernels.fill_bins(frames.pixels, masked, self.low, width, state["bins"])
            state["count"] += len(frames)

        return step

    def merge(self, states: Sequence[State]) -> State:
        """Add up."""
        return {
            name: np.add.reduce([state[name] for state in states]) for name in ("count", "bins")
        }

    def result(self, state: State, spec: Spec) -> Values:
        """Return the counts."""
        bins = state["bins"]
        return {
            "count": bins[:, 1:-1],
            "below": bins[:, 0],
            "above": bins[:, -1],
            "frames": state["count"],
        }
