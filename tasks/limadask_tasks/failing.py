"""Fail on purpose."""

from __future__ import annotations

import os
import time
from typing import Literal

import xarray as xr
from pydantic import NonNegativeFloat, NonNegativeInt

from limadask.faults import Chosen, happens
from limadask.task import Task


class Failing(Task):
    """Fail for some frames, to see what becomes of the run; the others pass unchanged.

    Frames are processed some at a time. Those that are with a chosen frame share its fate. Whether
    a frame is chosen depends on ``seed`` and its number alone, so that every run is the same.
    """

    frames: Chosen
    """Frames that it fails for: ``[3, 7]``, or ``0.01`` for one in a hundred."""
    seed: NonNegativeInt = 0
    """Where the probability is drawn from."""
    how: Literal["raise", "hang", "exit"] = "raise"
    """``raise`` raises an error, ``hang`` waits and goes on, ``exit`` ends the worker's process,
    again on each worker that gets these frames."""
    seconds: NonNegativeFloat = 10.0
    """How long it hangs."""

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the block, or fail."""
        numbers = [
            number
            for number in block["frame"].values.tolist()
            if happens(self.frames, number, "failing", self.seed)
        ]
        if not numbers:
            return block
        if self.how == "raise":
            raise RuntimeError(f"fails on purpose for frames {numbers}")
        if self.how == "exit":
            os._exit(1)
        time.sleep(self.seconds)
        return block
