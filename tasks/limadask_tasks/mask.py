"""Mask pixels that hold no value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.task import Kernel, Task
from limadask_tasks import kernels
from limadask_tasks.image import ImageTask


class Mask(ImageTask):
    """Mark the pixels where the image is not zero (as pyFAI does) as holding no value.

    They become the dtype's maximum, or NaN, and stay out of statistics.
    """

    def plan(self, spec: Spec) -> Spec:
        """Add this mask to the pixels already masked."""
        masked = self.image(spec) != 0
        masked = masked[0] if len(masked) == 1 else masked
        return spec.replace(masked=masked if spec.masked is None else masked | spec.masked)

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        masked, fill = as_coefficients(self.plan(spec).masked, spec), spec.fill

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.mask(pixels, masked, fill, out)

        return run

    def merged(self, following: Task) -> Task | None:
        """Share one pass with what follows."""
        from limadask_tasks.correction import Correction

        return Correction(steps=(self,)).merged(following)


def as_coefficients(image: NDArray[Any] | None, spec: Spec) -> NDArray[Any]:
    """Return an image as ``(band or 1, pixel)``; no image at all as a mask of none."""
    if image is None:
        return np.zeros((1, spec.grid.shape[0] * spec.grid.shape[1]), bool)
    return np.ascontiguousarray(image.reshape(1 if image.ndim == 2 else len(image), -1))
