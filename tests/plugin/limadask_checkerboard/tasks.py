"""Three tasks: functions in 3 and 4 lines, a class in 20."""

from __future__ import annotations

import numpy as np
import xarray as xr

import limadask as ld


@ld.task
def gain(block: xr.DataArray, factor: float = 2.0) -> xr.DataArray:
    """Multiply every pixel."""
    return block * factor


@ld.veto
def lit(block: xr.DataArray, level: float = 1.0) -> xr.DataArray:
    """Keep the frames that are bright enough."""
    return block.mean(("band", "y", "x")) >= level


class Brightest(ld.Reduction):
    """Value and place of each frame's brightest pixel."""

    def plan(self, spec: ld.Spec) -> ld.Products:
        names = {"value": "f8", "y": "i8", "x": "i8"}
        variables = {name: ld.Variable(("band",), np.dtype(kind)) for name, kind in names.items()}
        return ld.Products(variables, {"band": (("band",), list(spec.bands))})

    def measure(self, spec: ld.Spec):
        def measure(pixels: np.ndarray) -> np.ndarray:
            flat = pixels.reshape(*pixels.shape[:2], -1)
            place = flat.argmax(axis=-1)
            value = np.take_along_axis(flat, place[..., None], -1)[..., 0]
            return np.stack([value, *np.divmod(place, pixels.shape[-1])], axis=-1)

        return measure
