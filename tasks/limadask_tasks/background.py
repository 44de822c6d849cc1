"""Subtract a background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel, Task
from limadask_tasks import kernels
from limadask_tasks.dtypes import Dtype, limits, parse_dtype
from limadask_tasks.image import ImageTask
from limadask_tasks.mask import as_coefficients


class Background(ImageTask):
    """Subtract an image from every frame.

    Integers become signed and wide enough that nothing wraps; a float background, or float
    frames, give floats.
    """

    dtype: Dtype | None = None
    """Type of the result; values beyond its range become its limits. None chooses one that
    holds every difference."""

    _dtype = field_validator("dtype")(parse_dtype)

    def plan(self, spec: Spec) -> Spec:
        """Predict the type of the differences."""
        background = self.image(spec)
        masked = False if spec.masked is None else spec.masked
        if background.dtype.kind == "f" and np.any(~np.isfinite(background) & ~np.asarray(masked)):
            raise ConfigError(
                "the background holds NaN or infinities where no pixel is masked",
                field="path",
                value=self.path or "an array",
                allowed="finite values, or a mask before",
            )
        return spec.replace(dtype=self.result_dtype(spec, background.dtype))

    def result_dtype(self, spec: Spec, background: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the result."""
        return np.dtype(self.dtype) if self.dtype else difference_dtype(spec.dtype, background)

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        image = self.image(spec)
        wide = difference_dtype(spec.dtype, image.dtype)
        planned = self.result_dtype(spec, image.dtype)
        dark, masked = as_coefficients(image, spec).astype(wide), as_coefficients(spec.masked, spec)
        low, high = limits(planned, wide)
        fill = spec.replace(dtype=planned).fill

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.subtract(pixels, dark, masked, wide.type(0), low, high, fill, out)

        return run

    def merged(self, following: Task) -> Task | None:
        """Share one pass with a flat-field that follows."""
        from limadask_tasks.correction import Correction

        return Correction(steps=(self,)).merged(following)


def difference_dtype(pixels: np.dtype[Any], background: np.dtype[Any]) -> np.dtype[Any]:
    """Return a type that holds every difference of two such values.

    Differences of 64-bit unsigned integers fit no integer: they become float64.
    """
    if "f" in (pixels.kind, background.kind):
        return np.dtype("f8") if pixels in (np.dtype("f8"), np.dtype("u8")) else np.dtype("f4")
    if np.dtype("u8") in (pixels, background):
        return np.dtype("f8")
    return np.dtype("i4") if max(pixels.itemsize, background.itemsize) <= 2 else np.dtype("i8")
