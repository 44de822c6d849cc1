"""The HDF5 files of one writing worker: appended block by block, readable after any crash."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Spec
from limadask.storage.codec import Compression, dataset_options
from limadask.task import Place
from limadask.version import __version__

DATA = "entry/instrument/detector/data"
FIELDS = {"frame_number": ("i8", -1), "timestamp": ("i8", NEVER), "status": ("u1", 0)}
"""Datasets beside the data, one value a frame: type and fill value."""
DETECTOR = "entry/instrument/detector"
VALIDITY = "entry/instrument/validity"


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
    """

    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    data: Sequence[bytes | NDArray[np.uint8]]
    invalid: Mapping[int, Sequence[bytes | NDArray[np.uint8]]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks."""
        return sum(map(len, self.data)) + sum(
            len(one) for some in self.invalid.values() for one in some
        )


class FileSeries:
    """Appends frames to files ``{prefix}_{rank}_{number:05d}.h5``.

    Everything is created before SWMR mode starts, and what was written is flushed before
    :meth:`append` returns: from then on a killed process loses none of it (its page cache lives
    on; a power failure does not spare it).

    Parameters
    ----------
    folder, prefix, rank:
        Where the files go.
    spec:
        The frames.
    compression:
        How their chunks are compressed.
    nb_frames_per_file:
        Frames after which the next file is begun.
    first_number:
        Number of the first file.
    always_4d:
        Whether one band keeps its axis.
    place:
        The acquisition and its node; files say whose they are, so that a master can be made of
        them alone.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        rank: int,
        spec: Spec,
        compression: Compression,
        nb_frames_per_file: int,
        first_number: int = 0,
        always_4d: bool = False,
        place: Place | None = None,
    ) -> None:
        self._folder, self._prefix, self._rank, self._spec = folder, prefix, rank, spec
        self._place = place or Place("")
        self._compression, self._limit, self._next = compression, nb_frames_per_file, first_number
        self._has_band_axis = always_4d or len(spec.bands) > 1
        self._lock = threading.Lock()
        self._file: _File | None = None
        self.paths: list[str] = []
        self.begin()

    def append(self, parts: Sequence[Chunks]) -> None:
        """Write encoded frames; on return they are safe.

        Raises
        ------
        OSError
            When they cannot be written; the file stays readable up to the frames before.
        """
        with self._lock:
            for part in parts:
                done = 0
                while done < len(part.numbers):
                    if self._file is None or self._file.count == self._limit:
                        self.begin()
                    done += self._file.append(part, done, self._limit)  # type: ignore[union-attr]
            if self._file is not None:
                self._file.flush()

    def begin(self) -> None:
        """Close the current file, if any, and begin the next."""
        if self._file is not None:
            self._file.close()
            self._file = None
        path = self._folder / f"{self._prefix}_{self._rank}_{self._next:05d}.h5"
        self._file = _File(path, self._spec, self._compression, self._has_band_axis, self._place)
        self.paths.append(str(path))
        self._next += 1

    def close(self) -> None:
        """Close the last file; may be called again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


class _File:
    """One file of a series."""

    def __init__(
        self, path: Path, spec: Spec, compression: Compression, has_band_axis: bool, place: Place
    ) -> None:
        bands, rows, columns = spec.frame_shape
        self._bands = bands if has_band_axis else None
        shape = (bands, rows, columns) if has_band_axis else (rows, columns)
        chunk = (1,) * (len(shape) - 1) + (rows, columns)
        self.count = 0
        self._file = h5py.File(path, "x", libver="latest")
        try:
            self._data = self._file.create_dataset(
                DATA,
                (0, *shape),
                spec.dtype,
                maxshape=(None, *shape),
                chunks=chunk,
                fillvalue=spec.fill,
                **dataset_options(compression),
            )
            self._data.attrs["interpretation"] = "image"
            self._fields = {
                name: self._file.create_dataset(
                    f"{DETECTOR}/{name}",
                    (0,),
                    dtype,
                    maxshape=(None,),
                    chunks=(1024,),
                    fillvalue=fill,
                )
                for name, (dtype, fill) in FIELDS.items()
            }
            self._lacking, self._lacking_numbers = self._create_validity(spec, compression)
            self._describe(spec, place)
            self._file.flush()
            self._file.swmr_mode = True  # from here on only resize, write and flush
        except BaseException:
            self._file.close()
            raise

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
        if part.invalid:
            for number in part.numbers[start : start + count].tolist():
                if number in part.invalid:
                    self._append_validity(number, part.invalid[number])
        self.count = last
        return count

    def _create_validity(self, spec: Spec, compression: Compression) -> tuple[Any, Any]:
        """Make room for what single frames lack: frame numbers, and images that are 1 there."""
        shape = spec.frame_shape
        lacking = self._file.create_dataset(
            f"{VALIDITY}/invalid",
            (0, *shape),
            "u1",
            maxshape=(None, *shape),
            chunks=(1, 1, *shape[1:]),
            **dataset_options(compression),
        )
        numbers = self._file.create_dataset(
            f"{VALIDITY}/frame_number", (0,), "i8", maxshape=(None,), chunks=(1024,)
        )
        return lacking, numbers

    def _append_validity(self, number: int, bands: Sequence[Any]) -> None:
        place = len(self._lacking)
        self._lacking.resize(place + 1, axis=0)
        for band, chunk in enumerate(bands):
            self._lacking.id.write_direct_chunk((place, band, 0, 0), chunk)
        self._lacking_numbers.resize(place + 1, axis=0)
        self._lacking_numbers[place] = number

    def flush(self) -> None:
        """Flush, pixels first: a frame number that can be read has its pixels."""
        self._data.flush()
        if len(self._lacking):
            self._lacking.flush()
            self._lacking_numbers.flush()
        for column in self._fields.values():
            column.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _describe(self, spec: Spec, place: Place) -> None:
        """Make the file readable by itself: default plot and origin."""
        file = self._file
        attributes: dict[str, dict[str, Any]] = {
            "/": {"NX_class": "NXroot", "default": "entry", "creator": f"limadask {__version__}"},
            "entry": {"NX_class": "NXentry", "default": "data", "acquisition": place.uuid},
            "entry/instrument": {"NX_class": "NXinstrument"},
            DETECTOR: {"NX_class": "NXdetector", "nb_merged": spec.nb_merged},
            VALIDITY: {"NX_class": "NXcollection"},
            "entry/data": {"NX_class": "NXdata", "signal": "data"},
        }
        file.create_group("entry/data")["data"] = self._data
        for group, values in attributes.items():
            file[group].attrs.update(values)
        origin = {
            "node": place.node,
            "matrix": spec.grid.affine.matrix,
            "bands": spec.bands,
            "nb_frames": spec.nb_frames,
            "nb_merged": spec.nb_merged,
            **place.about,
        }
        file["entry/origin"] = json.dumps(origin, default=str)
        if spec.masked is not None:
            file.create_dataset("entry/masked", data=spec.masked, compression="gzip")
        self._fields["timestamp"].attrs["units"] = "nanoseconds since 1970-01-01"


def series_files(folder: Path, prefix: str) -> dict[int, list[Path]]:
    """Return the data files of a prefix, in order, by rank."""
    pattern = re.compile(re.escape(prefix) + r"_(\d+)_(\d{5,})\.h5")
    found: dict[int, list[tuple[int, Path]]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            if match := pattern.fullmatch(path.name):
                found.setdefault(int(match[1]), []).append((int(match[2]), path))
    return {rank: [path for _, path in sorted(files)] for rank, files in sorted(found.items())}


def next_number(folder: Path, prefix: str, rank: int) -> int:
    """Return the number after the last file of a rank."""
    files = series_files(folder, prefix).get(rank, [])
    return 1 + max((int(path.stem.rpartition("_")[2]) for path in files), default=-1)
