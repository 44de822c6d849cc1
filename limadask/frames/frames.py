"""A block in its two forms: bare arrays on the hot path, a labelled array for users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import PandasIndex

from limadask.frames.packed import Packed, Scattered
from limadask.frames.sparse_pixels import Backgrounds, SparsePixels, is_sparse
from limadask.frames.spec import DIMS, Spec
from limadask.frames.status import Status
from limadask.geometry import Grid, grid_coordinates

BACKGROUND = "background"
"""The attribute of a sparse block that tells what pixels hold that are not kept."""
NEVER = int(np.iinfo(np.int64).min)
"""The time of what has none: not-a-time to NumPy and xarray."""


@dataclass(slots=True)
class Frames:
    """A run of frames with what is known of each: the block as the engine handles it.

    Labelling a block costs up to 1 ms with the GIL held, so the hot path carries this, and
    :class:`Labels` makes the :class:`xarray.DataArray` where user code is to see it.

    Parameters
    ----------
    pixels:
        Shape ``(frame, band, y, x)``; of no frame where they are :attr:`packed` or
        :attr:`sparse`.
    numbers:
        Frame numbers, increasing, shape ``(frame,)``, int64.
    timestamps:
        UTC nanoseconds, shape ``(frame,)``, int64; :data:`NEVER` where nobody knows.
    status:
        :class:`Status` of each frame, shape ``(frame,)``, uint8.
    span:
        First and last + 1 of the frame numbers that this block accounts for, absent ones
        included.
    born:
        When its last frame was complete, seconds since 1970; 0 if nobody knows.
    causes:
        Why frames are partial, by number.
    invalid:
        Pixels that are missing from single frames, by number: shape ``(y, x)`` or
        ``(band, y, x)``. They hold the spec's fill value.
    part:
        Which part of the frames these are, where several are processed apart from each other.
    nb_lacking:
        How many of them lack a whole module.
    packed:
        The frames as the detector has compressed them, None where :attr:`pixels` has them.
    values:
        What else the detector tells of each frame, shape ``(frame, column)``, float64; None where
        it tells nothing more.
    sparse:
        The pixels that hold something, None where :attr:`pixels` has them all.
    handed:
        When its receiver let it go for processing, seconds since 1970; 0 if nobody knows.
    """

    pixels: NDArray[Any]
    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    span: tuple[int, int]
    born: float = 0.0
    causes: Mapping[int, str] = field(default_factory=dict)
    invalid: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    part: int = 0
    nb_lacking: int = 0
    packed: Packed | None = None
    values: NDArray[np.float64] | None = None
    sparse: SparsePixels | None = None
    handed: float = 0.0

    @classmethod
    def of(cls, pixels: NDArray[Any], first: int = 0) -> Frames:
        """Wrap an array ``(frame, band, y, x)`` whose frames are numbered from ``first``."""
        count = len(pixels)
        numbers = np.arange(first, first + count, dtype=np.int64)
        status = np.full(count, Status.PRESENT, np.uint8)
        stamps = np.full(count, NEVER, np.int64)
        return cls(pixels, numbers, stamps, status, (first, first + count))

    @classmethod
    def blank(cls, spec: Spec) -> Frames:
        """Return one frame as ``spec`` says, of zeros; sparse ones hold nothing."""
        frames = cls.of(np.zeros((1, *spec.frame_shape), spec.dtype))
        return (
            frames.holding(SparsePixels.blank(spec.frame_shape, spec.dtype))
            if spec.is_sparse
            else frames
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Frames:
        start, stop, _ = part.indices(len(self))
        # the first and last tile also answer for the absent frames at the block's ends
        first = self.span[0] if start == 0 else int(self.numbers[start - 1]) + 1
        last = self.span[1] if stop == len(self) else int(self.numbers[stop - 1]) + 1
        return replace(self._chosen(part), span=(first, last), nb_lacking=0)

    def _chosen(self, part: slice | NDArray[Any]) -> Frames:
        """Return some of the frames; they answer for the same numbers."""
        numbers = self.numbers[part]
        return replace(
            self,
            pixels=self.pixels[part] if self.is_dense else self.pixels,
            numbers=numbers,
            timestamps=self.timestamps[part],
            status=self.status[part],
            invalid=self._lacking_of(numbers),
            packed=None if self.packed is None else self.packed[part],
            sparse=None if self.sparse is None else self.sparse[part],
            values=None if self.values is None else self.values[part],
        )

    def _lacking_of(self, numbers: NDArray[np.int64]) -> Mapping[int, NDArray[np.bool_]]:
        """Return what some of the frames lack."""
        if not self.invalid:
            return {}
        return {one: self.invalid[one] for one in numbers.tolist() if one in self.invalid}

    def taking(self, chosen: NDArray[Any]) -> Frames:
        """Return some of the frames, by a choice or by their places; pixels are copied.

        They answer for the same numbers.
        """
        return self._chosen(chosen)

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """Return several blocks, in order, as one."""
        sparse = [part.sparse for part in parts if part.sparse is not None]
        values = [part.values for part in parts if part.values is not None]
        return cls(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.timestamps for part in parts]),
            np.concatenate([part.status for part in parts]),
            (parts[0].span[0], parts[-1].span[1]),
            max(part.born for part in parts),
            invalid={number: one for part in parts for number, one in part.invalid.items()},
            causes={number: why for part in parts for number, why in part.causes.items()},
            values=np.concatenate(values) if len(values) == len(parts) > 0 else None,
            sparse=SparsePixels.joined(sparse) if sparse else None,
        )

    def carrying(self, pixels: NDArray[Any]) -> Frames:
        """Return the same frames with other pixels: all of them."""
        return replace(self, pixels=pixels, packed=None, sparse=None)

    def holding(self, sparse: SparsePixels) -> Frames:
        """Return the same frames with only the pixels that hold something."""
        nothing = np.empty((0, *sparse.frame_shape), sparse.dtype)
        return replace(self, pixels=nothing, packed=None, sparse=sparse)

    def copied(self) -> Frames:
        """Return the same frames in memory of their own, still packed or sparse if they are."""
        if self.packed is not None:
            return replace(self, packed=self.packed.copied())
        if self.sparse is not None:
            return replace(self, sparse=self.sparse.copied())
        return replace(self, pixels=self.pixels.copy())

    @property
    def is_dense(self) -> bool:
        """Whether all pixels are there as they are."""
        return self.packed is None and self.sparse is None

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels, as they are kept."""
        if self.packed is not None:
            return self.packed.nbytes
        return self.pixels.nbytes if self.sparse is None else self.sparse.nbytes

    @property
    def memory(self) -> NDArray[Any]:
        """What the frames lie in: the pixels, or the memory of the chunks."""
        if isinstance(self.packed, Scattered):
            raise TypeError("these chunks lie in many pieces: copy them first")
        return self.pixels if self.packed is None else self.packed.data

    def moved(self, memory: NDArray[Any]) -> Frames:
        """Return the same frames in other memory, to which their own was copied."""
        if self.packed is None:
            return replace(self, pixels=memory)
        return replace(self, packed=replace(self.packed, data=memory))


class Labels:
    """Makes labelled arrays of one edge's blocks; what all blocks share is built once.

    Coordinates: ``frame``, ``timestamp`` and ``status`` along ``frame``, ``band``, ``det_y`` and
    ``det_x`` along ``(y, x)``, ``masked`` where pixels hold no value in any frame, if there are
    any, and ``invalid`` where they are missing from single frames. The attribute ``pattern`` tells
    the colour filters of the detector's pixels, where they have some.
    """

    def __init__(self, spec: Spec) -> None:
        self._background = spec.background
        bands = xr.Coordinates({"band": list(spec.bands)})
        shared = bands.merge(grid_coordinates(spec.grid)).coords
        self._variables, self._indexes = dict(shared.variables), dict(shared.xindexes)
        if spec.masked is not None:
            dims = ("y", "x") if spec.masked.ndim == 2 else ("band", "y", "x")
            self._variables["masked"] = xr.Variable(dims, spec.masked)
        counts = {"nb_merged": spec.nb_merged, "nb_averaged": spec.nb_averaged}
        self._attrs: dict[str, Any] = {name: count for name, count in counts.items() if count > 1}
        if spec.pattern:
            self._attrs["pattern"] = spec.pattern

    def __call__(self, frames: Frames, name: str | None = None) -> xr.DataArray:
        """Label ``frames``: dims ``(frame, band, y, x)``, no copy."""
        index = PandasIndex(frames.numbers, "frame")
        known = {
            "timestamp": xr.Variable("frame", frames.timestamps.view("datetime64[ns]")),
            "status": xr.Variable("frame", frames.status),
        }
        if frames.invalid:
            known["invalid"] = xr.Variable(("frame", "band", "y", "x"), _stacked(frames))
        attrs: dict[str, Any] = dict(self._attrs)
        sparse = frames.sparse
        where = self._background
        if where is not None and sparse is not None and sparse.background is not None:
            attrs[BACKGROUND] = Backgrounds.of(where, frames.numbers, sparse.background)
        # ready-made variables and indexes: three times faster than letting xarray make them
        coordinates = xr.Coordinates(
            {**self._variables, **index.create_variables(), **known},
            indexes={**self._indexes, "frame": index},
        )
        data: Any = frames.pixels if sparse is None else sparse.array
        return xr.DataArray(data, coordinates, DIMS, name, attrs=attrs)


def _stacked(frames: Frames) -> NDArray[np.bool_]:
    """Return where pixels are missing from each frame, shape ``(frame, band, y, x)``."""
    shape = frames.pixels.shape[1:]
    invalid = np.zeros((len(frames), *shape), bool)
    for place, number in enumerate(frames.numbers.tolist()):
        if (mask := frames.invalid.get(number)) is not None:
            invalid[place] = mask
    return invalid


def unlabelled(block: xr.DataArray, span: tuple[int, int] | None = None) -> Frames:
    """Return the bare arrays of a labelled block; what it does not tell gets defaults."""
    block = block.transpose(*DIMS)
    plain = _plain(block)
    if "frame" in block.coords:
        plain.numbers = np.asarray(block["frame"].values, np.int64)
    if "timestamp" in block.coords:
        plain.timestamps = block["timestamp"].values.astype("datetime64[ns]").view(np.int64)
    if "status" in block.coords:
        plain.status = np.asarray(block["status"].values, np.uint8)
    numbers = plain.numbers
    if "invalid" in block.coords:
        invalid = block["invalid"].broadcast_like(block["frame"]).transpose("frame", ...)
        masks = zip(numbers.tolist(), np.asarray(invalid.values, bool), strict=True)
        plain.invalid = {number: mask for number, mask in masks if mask.any()}
    plain.span = span or ((int(numbers[0]), int(numbers[-1]) + 1) if len(numbers) else (0, 0))
    return plain


def _plain(block: xr.DataArray) -> Frames:
    """Return the pixels of a block, all or only those that hold something."""
    if not is_sparse(block.data):
        return Frames.of(np.asarray(block.data))
    sparse, told = SparsePixels.of(block.data), block.attrs.get(BACKGROUND)
    if told is not None and "frame" in block.coords:
        numbers = np.asarray(block["frame"].values, np.int64)
        sparse = replace(sparse, background=told.read(numbers))
    blank = np.empty((len(sparse), 0, 0, 0), sparse.dtype)
    return Frames.of(blank).holding(sparse)


def concatenated(blocks: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return labelled blocks of one edge as one, by frame number."""
    if any("invalid" in block.coords for block in blocks):
        blocks = [
            block
            if "invalid" in block.coords
            else block.assign_coords(invalid=(block.dims, np.zeros(block.shape, bool)))
            for block in blocks
        ]
    if blocks and is_sparse(blocks[0].data):
        return _concatenated_sparse(blocks)
    whole = xr.concat(blocks, "frame", coords="minimal", compat="override")
    return whole.sortby("frame")


def _concatenated_sparse(blocks: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return sparse blocks as one: the library would make them dense, or leave attributes out."""
    frames = Frames.joined([unlabelled(block) for block in blocks])
    frames = frames.taking(np.argsort(frames.numbers, kind="stable"))
    return Labels(spec_of(blocks[0]))(frames)


def last_of(block: xr.DataArray) -> xr.DataArray:
    """Return a block's last frame, dims ``(band, y, x)``."""
    if not is_sparse(block.data):
        return block.isel(frame=-1)
    # the library would compile for seconds to look at one frame
    blank = np.broadcast_to(np.zeros((), block.dtype), block.shape)
    frame = unlabelled(block)[-1:]
    if frame.sparse is None:
        raise TypeError("a sparse block holds no pixels")
    data = frame.sparse.frame_array
    return block.copy(data=blank).isel(frame=-1).copy(data=data)


def spec_of(block: xr.DataArray, like: Spec | None = None) -> Spec:
    """Read the spec off a labelled block; ``like`` gives what the block does not tell."""
    if missing := [dim for dim in DIMS if dim not in block.dims]:
        raise ValueError(f"a block has dims {DIMS}; {missing} missing in {block.dims}")
    shape = block.sizes["y"], block.sizes["x"]
    try:
        grid = Grid.of(block)
    except ValueError:
        grid = like.grid if like is not None and like.grid.shape == shape else Grid(shape)
    bands = (
        tuple(map(str, block["band"].values))
        if "band" in block.coords
        else tuple(map(str, range(block.sizes["band"])))
    )
    base = like or Spec(grid, block.dtype, nb_frames=block.sizes["frame"])
    masked = base.masked if base.grid == grid and base.bands == bands else None
    if "masked" in block.coords:
        masked = np.asarray(block["masked"].values, bool)
    averaged = int(block.attrs.get("nb_averaged", base.nb_averaged))
    pattern = str(block.attrs.get("pattern", base.pattern))
    if len(bands) != len(base.bands) and like is not None:
        pattern = ""  # what was made of the one band has colours
    told = block.attrs.get(BACKGROUND) if is_sparse(block.data) else None
    return base.replace(
        grid=grid,
        dtype=block.dtype,
        bands=bands,
        masked=masked,
        is_sparse=is_sparse(block.data),
        background=base.background if told is None else told.where,
        pattern=pattern,
        nb_averaged=averaged,
    )
