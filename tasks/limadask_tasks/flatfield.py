"""Divide by a flat-field."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Rect
from limadask.task import Kernel
from limadask_tasks import kernels
from limadask_tasks.correction import ImageTask
from limadask_tasks.dtypes import Dtype, parse_dtype


class Flatfield(ImageTask):
    """Divide every frame by an image; masked pixels become NaN."""

    place: ClassVar[int] = 2

    normalize: bool = False
    """Divide the image by the mean of its unmasked pixels first."""
    dtype: Dtype = "float32"
    """Type of the result."""

    _dtype = field_validator("dtype")(parse_dtype)

    def plan(self, spec: Spec) -> Spec:
        """Predict floats; refuse a flat-field that cannot be divided by."""
        if np.dtype(self.dtype).kind != "f":
            raise ConfigError(
                "a flat-field yields floats",
                field="dtype",
                value=self.dtype,
                allowed=["float32", "float64"],
            )
        self.divisor(spec)
        return spec.replace(dtype=np.dtype(self.dtype))

    def divisor(self, spec: Spec) -> NDArray[Any]:
        """Return what is divided by, shape ``(band or 1, pixel)``, NaN where masked."""
        flat = self.image(spec).astype(np.float64)
        used = np.ones(flat.shape, bool)
        if spec.masked is not None:
            flat = np.where(spec.masked, np.nan, flat)
            used = np.broadcast_to(~spec.masked, flat.shape)
        self._check(flat, used)
        with np.errstate(all="ignore"):  # what vanishes or overflows in its type is refused, too
            flat = self._normalized(flat, used).astype(self.dtype)
        self._check(flat, used)
        return np.ascontiguousarray(flat.reshape(len(flat), -1))

    def for_part(self, whole: Spec, region: Rect) -> Self:
        """Return the same correction by the part's own pixels, normalized as the full image is."""
        if not self.normalize:
            return super().for_part(whole, region)
        flat = self.image(whole).astype(np.float64)
        used = np.broadcast_to(True if whole.masked is None else ~whole.masked, flat.shape)
        even = self.replace(path=None, array=self._normalized(flat, used), normalize=False)
        return even.for_part(whole, region)

    def _normalized(self, flat: NDArray[Any], used: NDArray[np.bool_]) -> NDArray[Any]:
        return flat / flat[used].mean() if self.normalize and used.any() else flat

    def _check(self, flat: NDArray[Any], used: NDArray[np.bool_]) -> None:
        bad = used & (~np.isfinite(flat) | (flat == 0))
        if bad.any():
            where = tuple(map(int, np.argwhere(bad)[0]))
            raise ConfigError(
                f"the flat-field is zero, NaN or infinite at {int(bad.sum())} unmasked pixels, "
                f"first at (band, y, x) = {where}",
                field="path",
                value=self.path or "an array",
                allowed="finite values other than 0, or a mask before",
            )

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        flat = self.divisor(spec)

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.divide(pixels, flat, out)

        return run
