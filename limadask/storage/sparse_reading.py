"""Open sparse frames of a master file, lazily."""

from __future__ import annotations

from functools import partial
from typing import Any

import dask
import dask.array
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import BACKGROUND, DIMS, Background, Backgrounds, SparsePixels
from limadask.storage.nxsparse import SPARSE
from limadask.storage.sparse_entry import by_image

PART = 64 << 20
"""Bytes that the frames of a part would have with all their pixels."""


def sparse_frames(path: str, entry: xr.DataTree) -> xr.Dataset:
    """Return the frames of an entry: ``images`` with dims ``(frame, band, y, x)``.

    Where there is a background, the attribute of this name finds that of each frame.

    Parameters
    ----------
    path:
        The master file.
    entry:
        The entry, opened.
    """
    name = entry.path.strip("/")
    with h5py.File(path, "r") as file:
        group = file[f"{name}/{SPARSE}"]
        bands = [str(one) for one in group["bands"].asstr()[()]]
        rows, columns = group["mask"].shape
        dtype, count = group["intensity"].dtype, len(group["count"])
        known = {
            one: (("frame",), group[one][()]) for one in ("frame_status", "timestamp", "frame")
        }
        background = _background(group, path, name, len(bands))
        causes = [str(one) for one in group["frame_cause"].asstr()[()]]
    shape = len(bands), rows // len(bands), columns
    step = max(1, PART // (int(np.prod(shape)) * dtype.itemsize))
    empty = SparsePixels.blank(shape, dtype)[:0].array
    parts = [
        dask.array.from_delayed(
            dask.delayed(read)(path, name, first, min(first + step, count), shape),
            (min(first + step, count) - first, *shape), dtype, meta=empty,
        )
        for first in range(0, count, step)
    ]  # fmt: skip
    images: Any = dask.array.concatenate(parts) if parts else empty
    return xr.Dataset(
        {
            "images": (DIMS, images, background),
            "frame_status": known["frame_status"],
            "frame_cause": (("frame",), causes),
        },
        {
            "frame": known["frame"],
            "band": bands,
            "timestamp": (("frame",), known["timestamp"][1].view("datetime64[ns]")),
        },
    )


def read(path: str, name: str, first: int, stop: int, shape: tuple[int, int, int]) -> Any:
    """Return successive frames, an array of the library ``sparse``."""
    with h5py.File(path, "r") as file:
        group = file[f"{name}/{SPARSE}"]
        ends = group["frame_ptr"][first : stop + 1].astype(np.int64)
        held = slice(int(ends[0]), int(ends[-1]))
        index, intensity = group["index"][held], group["intensity"][held]
    pointers, places = by_image(index, np.diff(ends), shape[0], shape[1] * shape[2])
    return SparsePixels(pointers, places, intensity, shape).array


def _background(group: h5py.Group, path: str, name: str, bands: int) -> dict[str, Any]:
    """Return the attribute that tells of the background; none where there is none."""
    unit = str(group["radius"].attrs["unit"])
    if not unit:
        return {}
    radius = group["radius"][1:].astype(np.float64)  # the first is told twice
    mask = group["mask"][()]
    pixels = np.fmax.reduce(mask.reshape(bands, -1, mask.shape[1]))
    where = Background(radius, pixels, unit)
    return {BACKGROUND: Backgrounds(where, partial(read_background, path, name, bands))}


def read_background(
    path: str, name: str, bands: int, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return mean and deviation at all radii of some frames, ``(frame, band, radius, 2)``."""
    with h5py.File(path, "r") as file:
        group = file[f"{name}/{SPARSE}"]
        both = [group[one][numbers][..., 1:] for one in ("background_avg", "background_std")]
    return np.stack(both, axis=-1).reshape(len(numbers), bands, -1, 2)
