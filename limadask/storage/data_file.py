"""One HDF5 data file: there whole or not at all, appended to, readable after any fault."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Mosaic, Spec
from limadask.storage.abandoning import abandon, frame_numbers
from limadask.storage.codec import Compression, dataset_options
from limadask.storage.recovery import recover
from limadask.task import Place
from limadask.version import __version__

DATA = "entry/instrument/detector/data"
FIELDS = {"frame_number": ("i8", -1), "timestamp": ("i8", NEVER), "status": ("u1", 0)}
"""Datasets beside the data, one value a frame: type and fill value."""
DETECTOR = "entry/instrument/detector"
VALIDITY = "entry/instrument/validity"
CAUSES = "entry/instrument/causes"
COLUMNS = "entry/instrument/columns"
"""What else the detector tells of each frame: a dataset for each."""
CAUSE = h5py.string_dtype("utf-8", 120)
"""Of a fixed length: what is of a varying one cannot be read while it is written."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """Encoded frames, ready to be written.

    Parameters
    ----------
    numbers, timestamps, status:
        As in :class:`~limadask.frames.Frames`.
    data:
        Chunks, all bands of the first frame, then of the second, …
    invalid:
        Of frames that lack pixels, by number: chunks of the images, one a band, that are 1 there.
    causes:
        Why frames are not present, by number.
    values:
        What else the detector tells of each frame, as in :class:`~limadask.frames.Frames`.
    """

    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    data: Sequence[bytes | NDArray[np.uint8]]
    invalid: Mapping[int, Sequence[bytes | NDArray[np.uint8]]] = field(default_factory=dict)
    causes: Mapping[int, str] = field(default_factory=dict)
    values: NDArray[np.float64] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks."""
        return sum(map(len, self.data)) + sum(
            len(one) for some in self.invalid.values() for one in some
        )


class DataFile:
    """One file of a series.

    It is made in memory and written as a whole: HDF5 cannot let go of a file that it could not
    create to the end. After an error of any method nothing more can be appended to it:
    :meth:`abandon` it.

    Raises
    ------
    OSError
        When it cannot be made, or is there already.
    """

    def __init__(
        self, path: Path, spec: Spec, compression: Compression, has_band_axis: bool, place: Place
    ) -> None:
        self._bands = len(spec.bands) if has_band_axis else None
        self.path, self.count, self.safe = path, 0, 0
        self._names = [name for name, _ in spec.columns]
        image = _blank(spec, compression, has_band_axis, place)
        self._file: Any = None
        with open(path, "xb", buffering=0) as made:
            self._identity = _identity(os.fstat(made.fileno()))
            try:
                while image:
                    image = image[made.write(image) :]
                self._open()
            except BaseException:
                self.abandon()
                raise

    def _open(self) -> None:
        """Open it to append; from here on only resize, write and flush."""
        self._file = h5py.File(self.path, "r+", libver="latest")
        self._data = self._file[DATA]
        self._fields = {name: self._file[f"{DETECTOR}/{name}"] for name in FIELDS}
        self._lacking = self._file[f"{VALIDITY}/invalid"]
        self._lacking_numbers = self._file[f"{VALIDITY}/frame_number"]
        self._causes = self._file[f"{CAUSES}/cause"]
        self._causes_numbers = self._file[f"{CAUSES}/frame_number"]
        self._columns = [self._file[f"{COLUMNS}/{name}"] for name in self._names]
        self._file.swmr_mode = True

    def append(self, part: Chunks, start: int, limit: int) -> int:
        """Write frames of ``part`` from ``start`` on as far as the file may grow."""
        count = min(len(part.numbers) - start, limit - self.count)
        first, last = self.count, self.count + count
        self._data.resize(last, axis=0)
        bands, write = self._bands or 1, self._data.id.write_direct_chunk
        for slot in range(count):
            for band in range(bands):
                place = (first + slot, 0, 0) if self._bands is None else (first + slot, band, 0, 0)
                write(place, part.data[(start + slot) * bands + band])
        values: dict[str, NDArray[Any]] = {
            "frame_number": part.numbers,
            "timestamp": part.timestamps,
            "status": part.status,
        }
        for name, column in self._fields.items():
            column.resize(last, axis=0)
            column[first:last] = values[name][start : start + count]
        for index, column in enumerate(self._columns):
            column.resize(last, axis=0)
            if part.values is not None:
                column[first:last] = part.values[start : start + count, index]
        if part.invalid or part.causes:
            for number in part.numbers[start : start + count].tolist():
                if number in part.invalid:
                    self._append_validity(number, part.invalid[number])
                if number in part.causes:
                    self._append_cause(number, part.causes[number])
        self.count = last
        return count

    def _append_validity(self, number: int, bands: Sequence[Any]) -> None:
        place = len(self._lacking)
        self._lacking.resize(place + 1, axis=0)
        for band, chunk in enumerate(bands):
            self._lacking.id.write_direct_chunk((place, band, 0, 0), chunk)
        self._lacking_numbers.resize(place + 1, axis=0)
        self._lacking_numbers[place] = number

    def _append_cause(self, number: int, cause: str) -> None:
        place = len(self._causes)
        for column, value in ((self._causes, cause), (self._causes_numbers, number)):
            column.resize(place + 1, axis=0)
            column[place] = value

    def flush(self) -> None:
        """Flush, frame numbers last: what has a number that can be read is there whole."""
        self._data.flush()
        for column in self._columns:
            column.flush()
        if len(self._lacking):
            self._lacking.flush()
            self._lacking_numbers.flush()
        if len(self._causes):
            self._causes.flush()
            self._causes_numbers.flush()
        for name in reversed(FIELDS):
            self._fields[name].flush()
        if not self._is_there():
            raise FileNotFoundError(errno.ENOENT, "The file has been removed", str(self.path))
        self.safe = self.count

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self.flush()  # HDF5 cannot let go of a file that it could not flush while closing
            self._file.close()

    def abandon(self) -> set[int]:
        """Let go of a file that cannot be written; return the frames that are safe in it.

        It is removed where it holds none.
        """
        if self._file:
            abandon(self._file)
        elif self._is_there():  # HDF5 has closed it, and not cleanly
            with suppress(OSError):
                recover(self.path)
        if not self._is_there():
            return set()
        numbers = frame_numbers(self.path, DETECTOR) if self.count else set()
        if not numbers and not self.safe:
            with suppress(OSError):
                self.path.unlink()
        return numbers

    def _is_there(self) -> bool:
        """Tell whether the path still leads to this file."""
        try:
            return _identity(os.stat(self.path)) == self._identity
        except OSError:
            return False


def _blank(spec: Spec, compression: Compression, has_band_axis: bool, place: Place) -> bytes:
    """Return a file without frames, as it is on disk."""
    options = dataset_options(compression)
    bands, rows, columns = spec.frame_shape
    shape = (bands, rows, columns) if has_band_axis else (rows, columns)
    chunk = (1,) * (len(shape) - 1) + (rows, columns)
    with h5py.File(
        "blank", "w", libver="latest", driver="core", backing_store=False, block_size=1 << 16
    ) as file:
        data = file.create_dataset(
            DATA, (0, *shape), spec.dtype, maxshape=(None, *shape), chunks=chunk,
            fillvalue=spec.fill, **options,
        )  # fmt: skip
        data.attrs["interpretation"] = "image"
        for name, (dtype, fill) in FIELDS.items():
            file.create_dataset(
                f"{DETECTOR}/{name}", (0,), dtype, maxshape=(None,), chunks=(1024,), fillvalue=fill
            )
        # what single frames lack: images that are 1 there, and frame numbers
        full = spec.frame_shape
        file.create_dataset(
            f"{VALIDITY}/invalid", (0, *full), "u1", maxshape=(None, *full),
            chunks=(1, 1, *full[1:]), **options,
        )  # fmt: skip
        file.create_dataset(f"{CAUSES}/cause", (0,), CAUSE, maxshape=(None,), chunks=(128,))
        for name, units in spec.columns:
            column = file.create_dataset(
                f"{COLUMNS}/{name}", (0,), "f8", maxshape=(None,), chunks=(1024,), fillvalue=np.nan
            )
            column.attrs["units"] = units
        for group in (VALIDITY, CAUSES):
            file.create_dataset(
                f"{group}/frame_number", (0,), "i8", maxshape=(None,), chunks=(1024,)
            )
        _describe(file, spec, place)
        file.flush()
        return bytes(file.id.get_file_image())


def _describe(file: h5py.File, spec: Spec, place: Place) -> None:
    """Make the file readable by itself: default plot and origin."""
    attributes: dict[str, dict[str, Any]] = {
        "/": {"NX_class": "NXroot", "default": "entry", "creator": f"limadask {__version__}"},
        "entry": {
            "NX_class": "NXentry",
            "default": "data",
            "acquisition": place.uuid,
            "part": place.part,
        },
        "entry/instrument": {"NX_class": "NXinstrument"},
        DETECTOR: {"NX_class": "NXdetector", "nb_merged": spec.nb_merged},
        VALIDITY: {"NX_class": "NXcollection"},
        "entry/data": {"NX_class": "NXdata", "signal": "data"},
    }
    file.create_group("entry/data")["data"] = file[DATA]
    for group, values in attributes.items():
        file[group].attrs.update(values)
    origin = {
        "node": place.node,
        "matrix": spec.grid.affine.matrix,
        "bands": spec.bands,
        "nb_frames": spec.nb_frames,
        "nb_merged": spec.nb_merged,
        "columns": spec.columns,
        "pattern": spec.pattern,
        **place.about,
    }
    if place.mosaic is not None:
        origin["mosaic"] = _origin_of(place.mosaic)
        if place.mosaic.whole.masked is not None:
            masked = place.mosaic.whole.masked
            file.create_dataset("entry/whole_masked", data=masked, compression="gzip")
    file["entry/origin"] = json.dumps(origin, default=str)
    if spec.masked is not None:
        file.create_dataset("entry/masked", data=spec.masked, compression="gzip")
    file[f"{DETECTOR}/timestamp"].attrs["units"] = "nanoseconds since 1970-01-01"


def _origin_of(mosaic: Mosaic) -> dict[str, Any]:
    """Return how parts make the whole, as plain data."""
    whole = mosaic.whole
    return {
        "shape": whole.grid.shape,
        "matrix": whole.grid.affine.matrix,
        "regions": [(one.y, one.x, one.height, one.width) for one in mosaic.regions],
    }


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from others."""
    return found.st_dev, found.st_ino
