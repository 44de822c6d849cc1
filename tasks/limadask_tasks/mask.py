"""Mask pixels that hold no value."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel
from limadask_tasks import kernels
from limadask_tasks.correction import ImageTask, as_coefficients


class Mask(ImageTask):
    """Mark the pixels where the image is not zero (as pyFAI does) as holding no value.

    They become the dtype's maximum, or NaN, and stay out of statistics.
    """

    place: ClassVar[int] = 0

    def plan(self, spec: Spec) -> Spec:
        """Add this mask to the pixels already masked."""
        return masked_by(self.image(spec), spec, "path" if self.path else "array", self.path)

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        masked, fill = as_coefficients(self.plan(spec).masked, spec), spec.fill

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.mask(pixels, masked, fill, out)

        return run


def masked_by(image: NDArray[Any], spec: Spec, field: str, source: object) -> Spec:
    """Return frames as ``spec`` says, and masked where an image ``(band or 1, y, x)`` is not zero.

    Raises
    ------
    ConfigError
        When it is NaN somewhere, naming the task's ``field`` and its ``source``.
    """
    if image.dtype.kind == "f" and np.isnan(image).any():
        raise ConfigError(
            f"the mask is NaN at {int(np.isnan(image).sum())} pixels: masked or not?",
            field=field,
            value=source if isinstance(source, str) else "an array",
            allowed="0 where a pixel holds a value, any other number where it holds none",
        )
    masked = image != 0
    masked = masked[0] if len(masked) == 1 else masked
    return spec.replace(masked=masked if spec.masked is None else masked | spec.masked)
