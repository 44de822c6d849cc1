"""One band of several by their weighted sum."""

from __future__ import annotations

from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel, PixelTask
from limadask_tasks import kernels
from limadask_tasks.correction import as_coefficients
from limadask_tasks.dtypes import Dtype, limits, parse_dtype


class CombineBands(PixelTask):
    """Add up the bands, each times its weight: frames become ``(frame, 1, y, x)``.

    Sums are made in float64. A pixel that holds no value in one of the bands that are used holds
    none in the sum.
    """

    weights: dict[str, float] | tuple[float, ...] = Field(min_length=1)
    """Weight of each band: by name, where a band that is left out is not used, or a number for
    every band, in their order. ``{red: 0.2126, green: 0.7152, blue: 0.0722}`` is the luminance of
    linear colours (ITU-R BT.709); ``{high: 1, low: -1}`` is a difference."""
    dtype: Dtype = "float32"
    """Type of the result; for integers, sums are rounded, and those beyond its range become its
    limits."""
    band: str = "combined"
    """Name of the result's band."""

    _dtype = field_validator("dtype")(parse_dtype)

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        weights = self.weights
        values = list(weights.values() if isinstance(weights, dict) else weights)
        if not all(map(isfinite, values)) or not any(values):
            raise ConfigError(
                "the weights make no sum",
                field="weights",
                value=weights,
                allowed="finite numbers, at least one of them other than 0",
            )
        return self

    def plan(self, spec: Spec) -> Spec:
        """Predict type and band, and what is masked."""
        used = self._weights(spec) != 0
        masked = spec.masked
        if masked is not None and masked.ndim == 3:
            masked = masked[used].any(axis=0)
            masked = masked if masked.any() else None
        return spec.replace(bands=(self.band,), dtype=np.dtype(self.dtype), masked=masked)

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        planned, weights = self.plan(spec), self._weights(spec)
        low, high = limits(planned.dtype, np.dtype("f8"))
        masked, fill = as_coefficients(planned.masked, planned), planned.fill
        rounds = planned.dtype.kind != "f"

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.combine(pixels, weights, masked, rounds, low, high, fill, out)

        return run

    def _weights(self, spec: Spec) -> NDArray[np.float64]:
        """Return the weight of every band, 0 where it is not used."""
        if not isinstance(self.weights, dict):
            if len(self.weights) != len(spec.bands):
                raise ConfigError(
                    f"{len(self.weights)} weights for {len(spec.bands)} bands",
                    field="weights",
                    value=self.weights,
                    allowed=f"{len(spec.bands)} numbers, for {', '.join(spec.bands)}",
                )
            return np.array(self.weights)
        if unknown := [name for name in self.weights if name not in spec.bands]:
            raise ConfigError(
                "the frames have no such band", field="weights", value=", ".join(unknown),
                allowed=list(spec.bands),
            )  # fmt: skip
        return np.array([self.weights.get(name, 0.0) for name in spec.bands])
