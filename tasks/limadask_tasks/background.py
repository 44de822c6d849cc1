"""Subtract a background."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel
from limadask_tasks import kernels
from limadask_tasks.correction import ImageTask, as_coefficients
from limadask_tasks.dtypes import Dtype, difference_dtype, limits, parse_dtype


class Background(ImageTask):
    """Subtract an image from every frame.

    Integers become signed and wide enough that nothing wraps; a float background, or float
    frames, give floats.
    """

    place: ClassVar[int] = 1

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
        dark, masked = self.dark(spec), as_coefficients(spec.masked, spec)
        planned, wide = self.plan(spec).dtype, dark.dtype
        low, high = limits(planned, wide)
        fill = spec.replace(dtype=planned).fill

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.subtract(pixels, dark, masked, wide.type(0), low, high, fill, out)

        return run

    def dark(self, spec: Spec) -> NDArray[Any]:
        """Return the background in the type of the differences."""
        image = self.image(spec)
        return as_coefficients(image, spec).astype(difference_dtype(spec.dtype, image.dtype))

    @property
    def cuts(self) -> bool:
        """Whether the result is cut to a type."""
        return self.dtype is not None
