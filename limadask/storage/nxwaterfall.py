"""Where the last blocks of a run spent their time, in its master file."""

from __future__ import annotations

import h5py
import xarray as xr

from limadask.storage.nexus import bare_scale, group

KEPT = 1000
"""Blocks that are written, the last ones."""


def write_waterfall(process: h5py.Group, times: xr.Dataset) -> None:
    """Write the group ``waterfall``, as xarray reads it.

    Parameters
    ----------
    process:
        The entry's NXprocess.
    times:
        What :func:`limadask.monitoring.waterfall.waterfall` returns.
    """
    kept = times.isel(block=slice(-KEPT, None))
    made = group(process, "waterfall", "NXcollection")
    bare_scale(made, "block", kept.sizes["block"])
    for name in ("stage", *(name for name in kept.variables if name != "stage")):
        values = kept[name].values
        text = h5py.string_dtype() if values.dtype.kind == "U" else None
        dataset = made.create_dataset(str(name), data=values.astype(object) if text else values,
                                      dtype=text, compression="gzip")  # fmt: skip
        dataset.attrs.update(kept[name].attrs)
        if name in kept.data_vars:
            dataset.attrs["coordinates"] = " ".join(
                str(one) for one in kept.coords if one != "stage"
            )
        if name == "stage":
            dataset.make_scale("stage")
            continue
        for axis, dim in enumerate(kept[name].dims):
            dataset.dims[axis].attach_scale(made[str(dim)])
