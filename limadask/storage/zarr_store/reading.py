"""Open a Zarr store that save_zarr has made, labelled and lazy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from limadask.errors import ConfigError
from limadask.geometry import Affine, Grid, grid_coordinates
from limadask.storage.zarr_store.chunks import zarr_python
from limadask.storage.zarr_store.layout import INVALID


def open_store(path: str | Path) -> xr.DataTree:
    """Open a store as the same lazy tree as a master file; nothing is read before it is computed.

    Raises
    ------
    ConfigError
        When it is no such store, or zarr is not installed.
    """
    zarr_python()
    try:
        found = xr.open_zarr(str(path), chunks=None)
        name = next(name for name in ("images", "data") if name in found)
        matrix = np.array(found[name].attrs["image_transform"])
    except Exception as error:  # xarray and zarr raise whatever they stumble over
        raise ConfigError(
            f"is no store of limadask: {error or type(error).__name__}", field="path",
            value=str(path), allowed="a master file, or a store that save_zarr has made",
        ) from error  # fmt: skip
    shape = found.sizes["y"], found.sizes["x"]
    whole = {name: found[name].chunk({"frame": "auto", "y": -1, "x": -1})}
    if INVALID in found.coords:
        found = found.assign_coords({INVALID: found[INVALID].chunk(whole[name].chunks)})
    placed = found.assign(whole).assign_coords(grid_coordinates(Grid(shape, Affine.of(matrix))))
    attributes, placed.attrs = placed.attrs, {"signal": name}
    root, entry = (xr.Dataset(attrs=one) for one in ({"default": "entry"}, attributes))
    return xr.DataTree.from_dict({"/": root, "/entry": entry, "/entry/data": placed})
