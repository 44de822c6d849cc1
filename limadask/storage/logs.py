"""Logs in a master file, opened again: values with times."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.storage.nxlog import CURVE, GAPS


def read_logs(entry: xr.DataTree) -> None:
    """Give the logs of an entry their times, in place: dim ``time``, UTC."""
    for node in list(entry.subtree):
        if "time" in node.data_vars and "value" in node.data_vars:
            log = _timed(node.to_dataset(inherit=False))
            if GAPS in node.children:
                gaps = node.children[GAPS].to_dataset(inherit=False)
                reasons = gaps["reason"].values.astype(str)
                pairs = zip(_times(gaps["time"]), reasons, strict=True)
                log.attrs["gaps"] = [f"{time}Z: {reason}" for time, reason in pairs]
            # the curve is the same once more, for other programs
            node.children = {
                name: one for name, one in node.children.items() if name not in (CURVE, GAPS)
            }
            node.dataset = log


def _timed(log: xr.Dataset) -> xr.Dataset:
    (dim,) = log["time"].dims
    value = log["value"].variable
    timed = xr.Variable("time", value.data, value.attrs)
    if timed.dtype == object:
        timed = xr.Variable("time", value.values.astype(str), value.attrs)
    rest = {name: one for name, one in log.data_vars.items() if dim not in one.dims}
    return xr.Dataset({"value": timed, **rest}, {"time": _times(log["time"])}, log.attrs)


def _times(relative: xr.DataArray) -> NDArray[np.datetime64]:
    """Return times that count from ``start``, in seconds, as UTC."""
    start = np.datetime64(str(relative.attrs["start"]).rstrip("Z"), "ns")
    since = np.round(relative.values * 1e9).astype("timedelta64[ns]")
    return np.asarray(start + since)
