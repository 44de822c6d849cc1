"""Sum successive frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from limadask.detector import binned_dtype
from limadask.frames import Spec
from limadask.task import Accumulating
from limadask_tasks import kernels
from limadask_tasks.correction import as_coefficients


class Accumulate(Accumulating):
    """Sum ``nb_frames`` successive frames into one.

    Frame *k* out is the sum of frames ``k·n ≤ i < (k + 1)·n`` in. One of which some are absent is
    the sum of the others, and ``partial``. Integers become wide enough for every sum.
    """

    nb_frames: PositiveInt
    """Frames that make one."""

    def plan(self, spec: Spec) -> Spec:
        """Predict the type of the sums and their number."""
        count = None if spec.nb_frames is None else -(-spec.nb_frames // self.nb_frames)
        return spec.replace(
            dtype=binned_dtype(spec.dtype, self.nb_frames),
            nb_frames=count,
            nb_merged=spec.nb_merged * self.nb_frames,
            columns=(),  # they tell of single frames
        )

    def init(self, spec: Spec) -> NDArray[Any]:
        """Return the empty sum."""
        return np.zeros(spec.frame_shape, self.plan(spec).dtype)

    def adder(self, spec: Spec) -> Any:
        """Return the compiled function that adds frames to a sum."""
        masked, fill = as_coefficients(spec.masked, spec), self.plan(spec).fill

        def add(state: NDArray[Any], pixels: NDArray[Any]) -> None:
            kernels.accumulate(pixels, masked, fill, state)

        return add
