"""The contract of a task whose frames depend on those before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Frames, Labels, Spec, spec_of, unlabelled
from limadask.task.contract import ArrayTask
from limadask.task.products import Products, dataset, tabled
from limadask.task.running import State

OrderedStepper = Callable[[State, Frames], NDArray[Any]]
"""Takes frames, their pixels C-contiguous, into a state, in place; returns what comes out."""


class Ordered(ArrayTask):
    """A task whose frame *i* out depends on the frames before *i*, by an explicit state.

    All frames of a run come to one worker, in order, each once. Frames that are absent are left
    out: :attr:`~limadask.frames.Frames.numbers` tells which come.
    """

    def plan(self, spec: Spec) -> Spec | Products:
        """Predict what comes out."""
        return spec

    def init(self, spec: Spec) -> State:
        """Return the state before the first frame."""
        raise NotImplementedError

    def stepper(self, spec: Spec) -> OrderedStepper:
        """Return the compiled function for frames that are as ``spec`` says.

        It returns frames ``(frame, band, y, x)``, or a table of by-products with the planned
        variables, in their order, along the last axis.
        """
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.DataArray | xr.Dataset:
        """Return what comes out of one block, as if it were the first."""
        spec, frames = spec_of(block), unlabelled(block)
        planned = self.plan(spec)
        frames.pixels = np.ascontiguousarray(frames.pixels)
        out = self.stepper(spec)(self.init(spec), frames)
        if isinstance(planned, Products):
            return dataset(planned, frames.numbers, tabled(planned, out))
        return Labels(planned)(frames.carrying(out))
