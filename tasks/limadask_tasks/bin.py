"""Bin pixels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, field_validator

from limadask.detector import binned_dtype
from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel, PixelTask
from limadask_tasks import kernels
from limadask_tasks.dtypes import Dtype, limits, parse_dtype


class Bin(PixelTask):
    """Sum or average tiles of ``y`` × ``x`` pixels; incomplete tiles at the end are dropped.

    A sum with a masked pixel in it is masked, for it would be too small; a mean is taken over
    the pixels that are not, and masked only where all are.
    """

    y: PositiveInt = 1
    """Rows of a tile."""
    x: PositiveInt = 1
    """Columns of a tile."""
    mode: Literal["sum", "mean"] = "sum"
    """What becomes of a tile."""
    dtype: Dtype | None = None
    """Type of the result; values beyond its range become its limits, means are rounded for
    integers. None chooses one that holds every sum, float32 for means."""

    _dtype = field_validator("dtype")(parse_dtype)

    def plan(self, spec: Spec) -> Spec:
        """Predict grid, type and mask."""
        for field, value, size in zip(("y", "x"), (self.y, self.x), spec.grid.shape, strict=True):
            if value > size:
                raise ConfigError(
                    "a bin is larger than the image",
                    field=field,
                    value=value,
                    allowed=f"1 … {size}",
                )
        return spec.replace(
            grid=spec.grid.bin(self.y, self.x),
            dtype=self._result(spec),
            masked=self._masked(spec),
            pattern=spec.pattern if self.y == self.x == 1 else "",  # else it mixes colours
            nb_averaged=spec.nb_averaged * (self.y * self.x if self.mode == "mean" else 1),
        )

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        result = self.plan(spec)
        mean = self.mode == "mean"
        wide = np.dtype("f8") if mean or spec.dtype.kind == "f" else _widest(spec.dtype)
        low, high = limits(result.dtype, wide)
        masked = np.zeros((1, 0, 0), bool) if spec.masked is None else np.atleast_3d(spec.masked)
        if spec.masked is not None and spec.masked.ndim == 2:
            masked = spec.masked[np.newaxis]
        masked = np.ascontiguousarray(masked)
        bins, rounds = (self.y, self.x), result.dtype.kind != "f"

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.bin_pixels(
                pixels, masked, *bins, mean, rounds, wide.type(0), low, high, result.fill, out
            )

        return run

    def _result(self, spec: Spec) -> np.dtype[Any]:
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if self.mode == "mean":
            return np.dtype("f8") if spec.dtype == np.dtype("f8") else np.dtype("f4")
        return binned_dtype(spec.dtype, self.y * self.x)

    def _masked(self, spec: Spec) -> NDArray[np.bool_] | None:
        if spec.masked is None:
            return None
        rows, columns = spec.grid.shape[0] // self.y, spec.grid.shape[1] // self.x
        cut = spec.masked[..., : rows * self.y, : columns * self.x]
        tiles = cut.reshape(*cut.shape[:-2], rows, self.y, columns, self.x)
        every = self.mode == "mean"
        return np.asarray(tiles.all(axis=(-3, -1)) if every else tiles.any(axis=(-3, -1)))


def _widest(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype("u8") if dtype.kind == "u" else np.dtype("i8")
