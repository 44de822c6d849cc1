"""Open what was saved, labelled and lazy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filters where frames are read
import numpy as np
import xarray as xr
from dask.array.core import from_array, getter

from limadask.errors import ConfigError
from limadask.frames import DIMS
from limadask.geometry import Affine, Grid, grid_coordinates
from limadask.storage.find import check_sources
from limadask.storage.growing import growing_files, open_growing
from limadask.storage.logs import read_logs
from limadask.storage.nxsparse import SPARSE
from limadask.storage.sparse_reading import sparse_frames
from limadask.storage.validity import Validity
from limadask.storage.zarr_store import ROOT, open_store


def open_acquisition(path: str | Path) -> xr.DataTree:
    """Open a master file as a lazy tree; nothing is read before it is computed.

    The frames are ``tree["entry/data"]["data"]``, dims ``(frame, y, x)``, or ``["images"]``, dims
    ``(frame, band, y, x)``, where there are several bands, with the detector's coordinates
    ``det_y(y, x)`` and ``det_x(y, x)``, and with ``frame_status``, ``frame_cause`` and
    ``timestamp`` beside them. Where single frames lack pixels, the coordinate ``invalid`` is True.
    Sparse frames are arrays of the library ``sparse``, read some frames at a time.
    By-products are the variables of ``tree["stats/data"]``, where ``stats`` is the entry that they
    were saved as.

    Values that changed during the run are datasets of their own, ``value`` with dim ``time``, such
    as ``tree["entry/logs/temperature"]``; on the times of frames they are
    ``tree["entry/logs/temperature"]["value"].interp(time=frames["timestamp"])``.

    While a run goes on there is no master yet: its path opens what the data files hold by now, and
    frames that have not come with the status 0. Open it again to see more.

    Parameters
    ----------
    path:
        The master file of a saver, written or not, or its Zarr store.

    Raises
    ------
    ConfigError
        When it is no such file, or its data files are not beside it.
    """
    if (Path(path) / ROOT).is_file():
        return open_store(path)
    if files := growing_files(Path(path)):
        return open_growing(files)
    try:
        with h5py.File(path) as file:
            if not any(isinstance(one, h5py.Group) for one in file.values()):
                raise ValueError("it has no entry")
            for entry in (one for one in file.values() if isinstance(one, h5py.Group)):
                if "entry_identifier" not in entry:
                    raise ValueError(f"{entry.name} is of no acquisition")
                for one in entry["data"].values() if "data" in entry else ():
                    check_sources(one, str(path))
        tree = xr.open_datatree(
            path, engine="h5netcdf", phony_dims="access", chunks="auto",
            from_array_kwargs={"getitem": _read},
        )  # fmt: skip
        for entry in tree.children.values():
            read_logs(entry)
            if "instrument" not in entry.children:  # by-products
                entry["data"].dataset = _readable(entry["data"].to_dataset())
                continue
            transform = entry["instrument/detector/image_transform"].to_dataset()
            matrix = transform["matrix"].values
            masked = _masked(entry["instrument/detector"].to_dataset())
            if SPARSE in entry.children:
                entry["data"] = xr.DataTree(sparse_frames(str(path), entry))
            for name, node in entry.children.items():
                if name == "data" or name.startswith("data_"):
                    placed = _placed(node.to_dataset(), matrix, masked)
                    node.dataset = _with_validity(placed, entry, str(path))
    except ConfigError:
        raise
    except Exception as error:  # xarray and h5netcdf raise whatever they stumble over
        raise ConfigError(
            f"is no master file of limadask: {error}", field="path", value=str(path),
            allowed="a master file, complete and with its data files",
        ) from error  # fmt: skip
    return tree


def frames_of(data: xr.DataTree | xr.Dataset | xr.DataArray | np.ndarray) -> xr.DataArray:
    """Return the frames of what was opened, or of plain arrays, dims ``(frame, band, y, x)``.

    Raises
    ------
    ConfigError
        When there are none.
    """
    if isinstance(data, xr.DataTree):
        entry = data.children.get(str(data.attrs.get("default", "entry")), data)
        data = entry.children.get("data", entry).to_dataset()
    if isinstance(data, xr.Dataset):
        found = next((data[name] for name in ("images", "data") if name in data), None)
        if found is None:
            raise ConfigError(
                "holds no frames", field="data", value=list(data), allowed=["images", "data"]
            )
        known = {"frame_status": "status", "frame_cause": "cause", "timestamp": "timestamp"}
        data = found.assign_coords({new: data[old] for old, new in known.items() if old in data})
    if not isinstance(data, xr.DataArray):
        array = np.asarray(data)
        if not 2 <= array.ndim <= 4:
            raise ConfigError(
                "frames have 2 to 4 dimensions", field="data", value=array.shape,
                allowed="(y, x), (frame, y, x) or (frame, band, y, x)",
            )  # fmt: skip
        data = xr.DataArray(array, dims={2: DIMS[2:], 3: ("frame", *DIMS[2:]), 4: DIMS}[array.ndim])
    for dim in ("band", "frame"):
        if dim not in data.dims:
            data = data.expand_dims(dim)
    return _numbered(_checked(data).transpose(*DIMS))


def _checked(data: xr.DataArray) -> xr.DataArray:
    """Refuse what cannot be frames."""
    dims = {str(name): size for name, size in data.sizes.items()}
    if set(dims) != set(DIMS) or 0 in (dims["band"], dims["y"], dims["x"]):
        raise ConfigError("frames have pixels", field="data", value=dims, allowed=DIMS)
    if (
        data.dtype.kind not in "iuf"
        or data.dtype.itemsize not in (1, 2, 4, 8)
        or data.dtype == "f2"
    ):
        raise ConfigError(
            "pixels are integers or floats", field="data", value=str(data.dtype),
            allowed="int8 … int64, uint8 … uint64, float32, float64",
        )  # fmt: skip
    return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))


def _numbered(data: xr.DataArray) -> xr.DataArray:
    """Return frames with their numbers, in their order."""
    if "frame" not in data.coords:
        return data.assign_coords(frame=np.arange(data.sizes["frame"]))
    steps = np.diff(data["frame"].values)
    if (steps > 0).all():
        return data
    if len(np.unique(data["frame"])) < data.sizes["frame"]:
        raise ConfigError(
            "frame numbers stand twice", field="data", value=data["frame"].values,
            allowed="each number once",
        )  # fmt: skip
    return data.sortby("frame")


def _read(array: Any, part: Any, asarray: bool = True, lock: Any = None) -> Any:
    """Read a part of a dataset; a worker that imports this module knows the filters."""
    return getter(array, part, asarray=asarray, lock=lock)


def _masked(detector: xr.Dataset) -> xr.Variable | None:
    """Return where pixels hold no value in any frame, ``(y, x)`` or ``(band, y, x)``."""
    for name, dims in (("band_pixel_mask", ("band", "y", "x")), ("pixel_mask", ("y", "x"))):
        if name in detector:
            return xr.Variable(dims, detector[name].values != 0)
    return None


def _with_validity(dataset: xr.Dataset, entry: xr.DataTree, path: str) -> xr.Dataset:
    """Return the frames with the pixels that single ones lack, if any do."""
    detector = entry["instrument/detector"]
    if not isinstance(detector, xr.DataTree) or "validity" not in detector.children:
        return dataset
    frames = next(dataset[name] for name in ("images", "data") if name in dataset)
    titles = entry["data"].coords["band"].values.tolist() if "band" in entry["data"].coords else []
    title = dataset.attrs.get("title")
    group = f"{entry.name}/instrument/detector/validity"
    numbers = np.asarray(detector["validity"].to_dataset()["frame_number"])
    band = titles.index(title) if title in titles else 0
    validity = Validity(path, group, numbers, frames.shape, band)
    lazy = from_array(
        validity, frames.chunks or -1, name=False, getitem=_read, meta=np.empty(0, bool)
    )
    return dataset.assign_coords(invalid=(frames.dims, lazy))


def _readable(dataset: xr.Dataset) -> xr.Dataset:
    """Return the same with causes as text."""
    if "frame_cause" not in dataset:
        return dataset
    return dataset.assign(frame_cause=dataset["frame_cause"].astype(str))


def _placed(dataset: xr.Dataset, matrix: np.ndarray, masked: xr.Variable | None) -> xr.Dataset:
    """Return the frames with coordinates on the detector, and with what is masked."""
    shape = dataset.sizes["y"], dataset.sizes["x"]
    # an index along y and x of its own would stand against the one of the grid
    plain = dataset.drop_vars([name for name in ("y", "x") if name in dataset.coords])
    plain = _readable(plain)
    if masked is not None and ("band" in plain.dims or masked.ndim == 2):
        plain = plain.assign_coords(masked=masked)
    return plain.assign_coords(grid_coordinates(Grid(shape, Affine.of(matrix))))
