"""Open an acquisition that still grows: its data files, while they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import dask.array
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Frames, Spec, Status
from limadask.geometry import Affine, Grid, grid_coordinates
from limadask.storage.entry import CAUSES, DATA, DETECTOR, entries_of, table_of
from limadask.storage.growing_products import growing_products, opened
from limadask.storage.rows import rows_of
from limadask.storage.series import series_files
from limadask.storage.sparse_entry import pixels_of

MASTER = "_master.h5"
PART = 64 << 20
"""Bytes of the frames that are read at a time."""


def growing_files(path: Path) -> list[Path]:
    """Return the data files of a master that is not written yet; none where there are none."""
    if path.exists() or not path.name.endswith(MASTER):
        return []
    found = series_files(path.parent, path.name.removesuffix(MASTER))
    return [file for files in found.values() for file in files if file.stat().st_size]


def open_growing(files: list[Path]) -> xr.DataTree:
    """Return what is in data files by now, as the master will show it: lazy, entry by entry.

    What has no frame number yet is left out; frames that have not come are ``pending``, status 0,
    and read as the fill value. A result of the whole run, and logs, are there at the end.
    """
    tree = xr.DataTree()
    pieces: dict[str, list[_Piece]] = {}
    for path in files:
        try:
            file = opened(path)
        except OSError:  # it is just being made
            continue
        with file:
            tree.attrs.setdefault("default", str(file.attrs["default"]))
            for name in entries_of(file):
                pieces.setdefault(name, []).append(_Piece.of(path, file[name], name))
    for name, found in pieces.items():
        newest = max(found, key=lambda one: Path(one.path).stat().st_mtime_ns).uuid
        found = [one for one in found if one.uuid == newest]  # others died without a master
        if (data := _shown(found)) is not None:
            tree[f"{name}/data"] = xr.DataTree(data)
    return tree


@dataclass(frozen=True)
class _Piece:
    """What one file has of an entry by now."""

    path: str
    name: str
    uuid: str
    origin: dict[str, Any]
    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    causes: dict[int, str]
    masked: NDArray[np.bool_] | None
    spec: Spec | None
    """Of frames; None of anything else."""
    has_band_axis: bool = True
    """Whether frames are saved as ``(band, y, x)``."""

    @classmethod
    def of(cls, path: Path, entry: h5py.Group, name: str) -> _Piece:
        """Read what is told of every frame."""
        rows, table = rows_of(entry), table_of(entry)
        told = table["frame_number"][:rows]
        rows = int(np.argmax(told < 0)) if (told < 0).any() else rows  # it grows right now
        columns = (table[one][:rows] for one in ("frame_number", "timestamp", "status"))
        numbers, stamps, status = columns
        origin = json.loads(entry["origin"].asstr()[()])
        masked = np.asarray(entry["masked"][()], bool) if "masked" in entry else None
        spec, has_band_axis = None, True
        if DETECTOR in entry:
            is_sparse = DATA not in entry
            has_band_axis = is_sparse or entry[DATA].ndim > 3
            kept = origin["sparse"] if is_sparse else entry[DATA]
            shape = tuple(kept["shape"] if is_sparse else kept.shape)[-2:]
            dtype = np.dtype(kept["dtype"] if is_sparse else kept.dtype)
            grid = Grid((int(shape[0]), int(shape[1])), Affine.of(np.array(origin["matrix"])))
            spec = Spec(grid, dtype, tuple(origin["bands"]), masked=masked, is_sparse=is_sparse)
        uuid = str(entry.attrs.get("acquisition", ""))
        texts, odd = (entry[f"{CAUSES}/{one}"][()] for one in ("cause", "frame_number"))
        causes = {n: text.decode() for n, text in zip(odd.tolist(), texts, strict=False)}
        return cls(
            str(path), name, uuid, origin, numbers, stamps, status, causes, masked, spec,
            has_band_axis,
        )  # fmt: skip


def _shown(pieces: list[_Piece]) -> xr.Dataset | None:
    """Return one entry's frames, or by-products; None of what is there at the end only."""
    first = pieces[0]
    count = max((int(one.numbers.max()) + 1 for one in pieces if len(one.numbers)), default=0)
    status = np.full(count, Status.PENDING, np.uint8)
    stamps = np.full(count, np.datetime64("NaT", "ns"))
    causes = np.full(count, "", object)
    for one in pieces:
        status[one.numbers] = one.status
        stamps[one.numbers] = one.timestamps.view("datetime64[ns]")
        for number, cause in one.causes.items():
            if number < count:  # else it is on its way
                causes[number] = cause
    known = {"frame_status": ("frame", status), "frame_cause": ("frame", causes.astype(str))}
    labels = {"frame": np.arange(count), "timestamp": ("frame", stamps)}
    if first.spec is not None:
        if "mosaic" in first.origin:  # parts of frames: the master puts them together
            return None
        images = dask.array.concatenate(list(_images(pieces, count, first.spec)))
        found = xr.Dataset(
            {"images": (("frame", "band", "y", "x"), images), **known},
            {**labels, "band": list(first.spec.bands)},
        )
        if not first.has_band_axis:
            found = found.isel(band=0, drop=True).rename(images="data")
        if (masked := first.masked) is not None:
            if masked.ndim == 3 and not first.has_band_axis:
                masked = masked[0]
            dims = ("y", "x") if masked.ndim == 2 else ("band", "y", "x")
            found = found.assign_coords(masked=(dims, masked))
        return found.assign_coords(grid_coordinates(first.spec.grid))
    if "products" not in first.origin:
        return None
    return growing_products(pieces, count).assign(known).assign_coords(labels)


def _images(pieces: list[_Piece], count: int, spec: Spec) -> Iterator[Any]:
    """Yield lazy arrays of all frames, in order; those that are not there hold the fill value."""
    shape, reached = spec.frame_shape, 0
    yield _lazy(_blank, (0, spec), 0, spec)  # or there would be none at first
    runs = sorted((run for piece in pieces for run in _runs(piece)), key=lambda one: one[1])
    step = max(1, PART // spec.frame_nbytes)
    for piece, begin, place, whole in runs:
        known = min(whole, max(0, reached - begin))  # a block that two workers have saved
        number, slot, length = begin + known, place + known, whole - known
        for first, stop in _steps(reached, number, step):
            yield _lazy(_blank, (stop - first, spec), stop - first, spec)
        for first, stop in _steps(0, length, step):
            part = piece.path, piece.name, slot + first, slot + stop, shape, spec.is_sparse
            yield _lazy(_read, part, stop - first, spec)
        reached = max(reached, number + length)


def _runs(piece: _Piece) -> Iterator[tuple[_Piece, int, int, int]]:
    """Yield runs of successive frames: first number, its place in the file, and how many."""
    breaks = np.flatnonzero(np.diff(piece.numbers) != 1) + 1
    for part in np.split(np.arange(len(piece.numbers)), breaks):
        if len(part):
            yield piece, int(piece.numbers[part[0]]), int(part[0]), len(part)


def _steps(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def _lazy(read: Any, arguments: tuple[Any, ...], count: int, spec: Spec) -> Any:
    return dask.array.from_delayed(
        dask.delayed(read, pure=True)(*arguments), (count, *spec.frame_shape), spec.dtype,
        meta=_blank(0, spec),
    )  # fmt: skip


def _blank(count: int, spec: Spec) -> Any:
    """Return frames that are not there."""
    if not spec.is_sparse:
        return np.full((count, *spec.frame_shape), spec.fill, spec.dtype)
    blank = Frames.blank(spec).sparse
    assert blank is not None  # noqa: S101 - of a sparse spec
    return blank[np.zeros(count, int)].array


def _read(
    path: str, name: str, start: int, stop: int, shape: tuple[int, int, int], is_sparse: bool
) -> Any:
    """Read successive frames of a file."""
    bands, rows, columns = shape
    with opened(path) as file:
        entry = file[name]
        if is_sparse:
            kept = pixels_of(entry, start, stop, bands, rows * columns)
            return replace(kept, frame_shape=shape).array
        return entry[DATA][start:stop].reshape(stop - start, *shape)
