"""One entry of a data file: what it is made for, and what is appended to it.

Savers at different stages of a pipeline may write the same files, each an entry of its own.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Mosaic, Spec
from limadask.storage.codec import Compression, dataset_options
from limadask.task import Place

ENTRY = "entry"
"""The name of the only entry, where nobody asks for another."""
FIELDS = {"frame_number": ("i8", -1), "timestamp": ("i8", NEVER), "status": ("u1", 0)}
"""Datasets beside the data, one value a frame: type and fill value."""
DETECTOR = "instrument/detector"
DATA = f"{DETECTOR}/data"
"""The frames; this place, and those below, are within an entry."""
VALIDITY = "instrument/validity"
CAUSES = "instrument/causes"
ROWS = "frames"
"""What is told of the frames that by-products are of."""
COLUMNS = "instrument/columns"
"""What else the detector tells of each frame: a dataset for each."""
CAUSE = h5py.string_dtype("utf-8", 120)
"""Of a fixed length: what is of a varying one cannot be read while it is written."""


class Part(Protocol):
    """What is appended: what is known of some frames, whatever else comes with them."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Frame numbers."""

    @property
    def timestamps(self) -> NDArray[np.int64]:
        """UTC nanoseconds."""

    @property
    def status(self) -> NDArray[np.uint8]:
        """What became of each frame."""

    @property
    def causes(self) -> Mapping[int, str]:
        """Why frames are not present, by number."""


class FramePart(Part, Protocol):
    """What is appended of frames, in whatever form."""

    @property
    def invalid(self) -> Mapping[int, Sequence[bytes | NDArray[np.uint8]]]:
        """Chunks of the images that are 1 where a frame lacks pixels, one a band, by number."""

    @property
    def values(self) -> NDArray[np.float64] | None:
        """What else the detector tells of each frame."""


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
    is_view: ClassVar[bool] = False
    """Whether the chunks lie in memory that others count."""

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks."""
        return sum(map(len, self.data)) + sum(
            len(one) for some in self.invalid.values() for one in some
        )


class Views(Chunks):
    """Chunks in memory of the block they are of, or of the node that has made them."""

    is_view: ClassVar[bool] = True


P = TypeVar("P", bound=Part)
F = TypeVar("F", bound="FramePart")


class Entry(ABC, Generic[P]):
    """An entry of an open data file; it is appended to by one thread at a time.

    Parameters
    ----------
    group:
        The entry.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._fields = {name: table_of(group)[name] for name in FIELDS}
        self._causes, self._causes_numbers = (
            group[f"{CAUSES}/{name}"] for name in ("cause", "frame_number")
        )
        self.count = self.safe = 0

    def append(self, part: P, start: int, limit: int) -> int:
        """Write frames of ``part`` from ``start`` on as far as the file may grow."""
        count = min(len(part.numbers) - start, limit - self.count)
        places, last = slice(start, start + count), self.count + count
        self._append(part, places)
        values: dict[str, NDArray[Any]] = {
            "frame_number": part.numbers,
            "timestamp": part.timestamps,
            "status": part.status,
        }
        for name, column in self._fields.items():
            column.resize(last, axis=0)
            column[self.count : last] = values[name][places]
        for number in part.numbers[places].tolist() if part.causes else ():
            if number in part.causes:
                _add(self._causes, part.causes[number])
                _add(self._causes_numbers, number)
        self.count = last
        return count

    def flush(self) -> None:
        """Flush, frame numbers last: what has a number that can be read is there whole."""
        if self.count == self.safe:
            return
        self._flush()
        if len(self._causes):
            self._causes.flush()
            self._causes_numbers.flush()
        for name in reversed(FIELDS):
            self._fields[name].flush()

    @abstractmethod
    def _append(self, part: P, places: slice) -> None:
        """Write what is not told of every frame of every entry."""

    @abstractmethod
    def _flush(self) -> None:
        """Flush it."""


class FrameEntry(Entry[F]):
    """Frames, in whatever form.

    Parameters
    ----------
    group:
        The entry.
    layout:
        What it was made for.
    """

    def __init__(self, group: h5py.Group, layout: FrameLayout) -> None:
        super().__init__(group)
        self._bands = len(layout.spec.bands) if layout.has_band_axis else None
        self._open(group)
        self._lacking = group[f"{VALIDITY}/invalid"]
        self._lacking_numbers = group[f"{VALIDITY}/frame_number"]
        self._columns = [group[f"{COLUMNS}/{name}"] for name, _ in layout.spec.columns]

    @abstractmethod
    def _open(self, group: h5py.Group) -> None:
        """Find the datasets of the frames."""

    @abstractmethod
    def _append_frames(self, part: F, places: slice) -> None:
        """Write the frames themselves."""

    @abstractmethod
    def _flush_frames(self) -> None:
        """Flush these."""

    def _append(self, part: F, places: slice) -> None:
        first, count = self.count, places.stop - places.start
        self._append_frames(part, places)
        for index, column in enumerate(self._columns):
            column.resize(first + count, axis=0)
            if part.values is not None:
                column[first:] = part.values[places, index]
        for number in part.numbers[places].tolist() if part.invalid else ():
            if number in part.invalid:
                self._append_validity(number, part.invalid[number])

    def _append_validity(self, number: int, bands: Sequence[Any]) -> None:
        place = len(self._lacking)
        self._lacking.resize(place + 1, axis=0)
        for band, chunk in enumerate(bands):
            self._lacking.id.write_direct_chunk((place, band, 0, 0), chunk)
        _add(self._lacking_numbers, number)

    def _flush(self) -> None:
        self._flush_frames()
        for column in self._columns:
            column.flush()
        if len(self._lacking):
            self._lacking.flush()
            self._lacking_numbers.flush()


class DenseEntry(FrameEntry[Chunks]):
    """Frames with all their pixels."""

    def _open(self, group: h5py.Group) -> None:
        self._data = group[DATA]

    def _append_frames(self, part: Chunks, places: slice) -> None:
        first, count = self.count, places.stop - places.start
        self._data.resize(first + count, axis=0)
        bands, write = self._bands or 1, self._data.id.write_direct_chunk
        for slot in range(count):
            for band in range(bands):
                place = (first + slot, 0, 0) if self._bands is None else (first + slot, band, 0, 0)
                write(place, part.data[(places.start + slot) * bands + band])

    def _flush_frames(self) -> None:
        self._data.flush()


class Layout(Protocol):
    """What an entry is made for."""

    @property
    def name(self) -> str:
        """The entry's name."""

    def make(self, group: h5py.Group) -> None:
        """Make all that it consists of, without frames."""

    def opened(self, group: h5py.Group) -> Entry[Any]:
        """Return it, to be appended to."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameLayout:
    """What an entry with frames is made for.

    Parameters
    ----------
    spec:
        The frames.
    compression:
        How their chunks are compressed.
    always_4d:
        Whether one band keeps its axis.
    place:
        The acquisition and its node; files say whose they are, so that a master can be made of
        them alone.
    name:
        Name of the entry.
    """

    spec: Spec
    compression: Compression
    always_4d: bool = False
    place: Place = field(default_factory=lambda: Place(""))
    name: str = ENTRY

    @property
    def has_band_axis(self) -> bool:
        """Whether frames are saved as ``(band, y, x)``."""
        return self.always_4d or len(self.spec.bands) > 1

    def opened(self, group: h5py.Group) -> FrameEntry[Any]:
        """Return it, to be appended to."""
        return DenseEntry(group, self)

    def make(self, group: h5py.Group) -> None:
        """Make all that it consists of, without frames."""
        spec, options = self.spec, dataset_options(self.compression)
        full = spec.frame_shape
        self._make_frames(group)
        # what single frames lack: images that are 1 there, and frame numbers
        group.create_dataset(
            f"{VALIDITY}/invalid", (0, *full), "u1", maxshape=(None, *full),
            chunks=(1, 1, *full[1:]), **options,
        )  # fmt: skip
        growing(group, f"{VALIDITY}/frame_number", "i8", 0)
        for name, units in spec.columns:
            growing(group, f"{COLUMNS}/{name}", "f8", np.nan).attrs["units"] = units
        make_table(group, DETECTOR)
        group[DETECTOR].attrs.update(NX_class="NXdetector", nb_merged=spec.nb_merged)
        group["instrument"].attrs["NX_class"] = "NXinstrument"
        group[VALIDITY].attrs["NX_class"] = "NXcollection"
        if spec.masked is not None:
            group.create_dataset("masked", data=spec.masked, compression="gzip")
        if (mosaic := self.place.mosaic) is not None and mosaic.whole.masked is not None:
            masked = mosaic.whole.masked
            group.create_dataset("whole_masked", data=masked, compression="gzip")
        describe(group, self.place, self._origin())

    def _make_frames(self, group: h5py.Group) -> None:
        """Make the datasets of the frames, and a plot of them."""
        spec = self.spec
        shape = spec.frame_shape if self.has_band_axis else spec.frame_shape[1:]
        chunk = (1,) * (len(shape) - 1) + spec.frame_shape[1:]
        data = group.create_dataset(
            DATA, (0, *shape), spec.dtype, maxshape=(None, *shape), chunks=chunk,
            fillvalue=spec.fill, **dataset_options(self.compression),
        )  # fmt: skip
        data.attrs["interpretation"] = "image"
        shown = group.create_group("data")
        shown["data"] = data
        shown.attrs.update(NX_class="NXdata", signal="data")
        group.attrs["default"] = "data"

    def _origin(self) -> dict[str, Any]:
        """Return what a master needs to know of the frames, as plain data."""
        spec, mosaic = self.spec, self.place.mosaic
        told = {
            "matrix": spec.grid.affine.matrix,
            "bands": spec.bands,
            "nb_frames": spec.nb_frames,
            "nb_merged": spec.nb_merged,
            "columns": spec.columns,
            "pattern": spec.pattern,
        }
        return told if mosaic is None else {**told, "mosaic": _origin_of(mosaic)}


def make_table(group: h5py.Group, place: str) -> None:
    """Make what is told of every frame, and why some are not present."""
    for name, (dtype, fill) in FIELDS.items():
        growing(group, f"{place}/{name}", dtype, fill)
    group[f"{place}/timestamp"].attrs["units"] = "nanoseconds since 1970-01-01"
    group.create_dataset(f"{CAUSES}/cause", (0,), CAUSE, maxshape=(None,), chunks=(128,))
    growing(group, f"{CAUSES}/frame_number", "i8", 0)


def growing(group: h5py.Group, name: str, dtype: Any, fill: Any) -> h5py.Dataset:
    """Make a dataset of one value a row, without a row."""
    return group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(1024,), fillvalue=fill)


def describe(group: h5py.Group, place: Place, origin: Mapping[str, Any]) -> None:
    """Tell whose an entry is."""
    group.attrs.update(NX_class="NXentry", acquisition=place.uuid, part=place.part)
    group["origin"] = json.dumps({"node": place.node, **origin, **place.about}, default=str)


def entries_of(file: h5py.File) -> list[str]:
    """Return the names of a data file's entries; that of the first saver is the first."""
    names = [name for name in file if file[name].attrs.get("NX_class") == "NXentry"]
    default = file.attrs.get("default")
    return sorted(names, key=lambda name: (name != default, name))


def table_of(entry: h5py.Group) -> h5py.Group:
    """Return the group that tells of an entry's frames.

    Raises
    ------
    OSError
        When it holds none.
    """
    for place in (DETECTOR, ROWS):
        if place in entry:
            return entry[place]
    raise OSError(f"its entry {entry.name} holds no frames")


def _add(column: h5py.Dataset, value: Any) -> None:
    """Add one value."""
    place = len(column)
    column.resize(place + 1, axis=0)
    column[place] = value


def _origin_of(mosaic: Mosaic) -> dict[str, Any]:
    """Return how parts make the whole, as plain data."""
    whole = mosaic.whole
    return {
        "shape": whole.grid.shape,
        "matrix": whole.grid.affine.matrix,
        "regions": [(one.y, one.x, one.height, one.width) for one in mosaic.regions],
    }
