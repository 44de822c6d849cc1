"""The contract of a task that makes one result of all frames of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Frames, Spec, spec_of, unlabelled
from limadask.task.contract import ArrayTask
from limadask.task.products import Products, Values, dataset

State = dict[str, NDArray[Any]]
"""What is known of the frames so far; arrays, so that it travels between processes."""
Stepper = Callable[[State, Frames], object]
"""Takes frames, their pixels C-contiguous, into a state, in place, without the GIL."""


class Running(ArrayTask):
    """A task that makes one result of all frames of a run: a mean, a histogram.

    Every thread of every worker has a state of its own; they are merged as often as somebody asks,
    while the run goes on. Vetoed frames are left out.
    """

    ordered: ClassVar[bool] = False
    """Whether all frames of a run must come to one worker, in order, each once."""

    def plan(self, spec: Spec) -> Products:
        """Predict what comes out: by-products with ``running`` set to this task."""
        raise NotImplementedError

    def init(self, spec: Spec) -> State:
        """Return the state of no frame at all."""
        raise NotImplementedError

    def stepper(self, spec: Spec, lacks: bool = False) -> Stepper:
        """Return the compiled function for frames that are as ``spec`` says.

        Parameters
        ----------
        lacks:
            Whether ``spec.masked`` has also what is missing from these frames alone.
        """
        raise NotImplementedError

    def merge(self, states: Sequence[State]) -> State:
        """Return one state of several, which stay as they are."""
        raise NotImplementedError

    def told(self, state: State) -> State:
        """Return what of a state others need, to merge it and to know the result."""
        return state

    def result(self, state: State, spec: Spec) -> Values:
        """Return what the plan has promised, of frames that are as ``spec`` says."""
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.Dataset:
        """Return the result of one block."""
        spec = spec_of(block)
        state, frames = self.init(spec), unlabelled(block)
        frames.pixels = np.ascontiguousarray(frames.pixels)
        self.stepper(spec)(state, frames)
        return result_of_run(replace(self.plan(spec), of=spec), [self.told(state)])


def result_of_run(products: Products, states: Sequence[State]) -> xr.Dataset:
    """Label what several workers know together of a whole run.

    Raises
    ------
    TypeError
        When these are by-products of single frames.
    """
    running, spec = products.running, products.of
    if running is None or spec is None:
        raise TypeError("these by-products are of single frames, or were never planned")
    whole = running.merge([running.told(running.init(spec)), *states])
    return dataset(products, np.empty(0, np.int64), running.result(whole, spec))
