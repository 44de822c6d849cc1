"""Frames of which only few pixels hold anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import sparse


@dataclass(frozen=True, slots=True)
class SparsePixels:
    """The pixels that hold something, image by image: compressed rows, an image a row.

    All others are 0, or what the :attr:`background` says.

    Parameters
    ----------
    pointers:
        Where the pixels of each image begin, all bands of the first frame first, and where those
        of the last end, shape ``(image + 1,)``, int64.
    index:
        The flat number ``y · width + x`` of each pixel, increasing within an image, int32.
    intensity:
        What it holds.
    frame_shape:
        Shape ``(band, y, x)`` of a frame.
    background:
        What the others hold, shape ``(frame, band, radius, 2)``: mean and standard deviation at
        the radii of the spec's :class:`Background`; None where it is 0.
    """

    pointers: NDArray[np.int64]
    index: NDArray[np.int32]
    intensity: NDArray[Any]
    frame_shape: tuple[int, int, int]
    background: NDArray[np.float32] | None = None

    @classmethod
    def blank(cls, frame_shape: tuple[int, int, int], dtype: np.dtype[Any]) -> SparsePixels:
        """Return one frame that holds nothing."""
        nothing = np.empty(0, np.int32)
        pointers = np.zeros(frame_shape[0] + 1, np.int64)
        return cls(pointers, nothing, np.empty(0, dtype), frame_shape)

    @classmethod
    def of(cls, array: Any) -> SparsePixels:
        """Return the pixels of an array of the library ``sparse``, dims ``(frame, band, y, x)``.

        Raises
        ------
        ValueError
            When what it does not hold is not 0.
        """
        import sparse  # takes half a second: only who has such frames is to wait for it

        if array.fill_value != 0:
            raise ValueError(f"sparse frames are 0 where they hold nothing, not {array.fill_value}")
        if not isinstance(array, sparse.GCXS):
            array = sparse.GCXS(array, compressed_axes=(0, 1))
        if tuple(array.compressed_axes) != (0, 1):
            array = array.change_compressed_axes((0, 1))
        pointers = np.asarray(array.indptr, np.int64)
        return cls(pointers, np.asarray(array.indices, np.int32), array.data, array.shape[1:])

    @property
    def array(self) -> sparse.GCXS:
        """The same pixels, uncopied, as the library ``sparse`` has them: an image a row."""
        return self._array(self.shape)

    @property
    def frame_array(self) -> sparse.GCXS:
        """The pixels of the only frame, dims ``(band, y, x)``."""
        return self._array(self.frame_shape)

    def _array(self, shape: tuple[int, ...]) -> sparse.GCXS:
        import sparse

        parts = self.intensity, self.index, self.pointers
        axes, zero = tuple(range(len(shape) - 2)), self.intensity.dtype.type(0)
        return sparse.GCXS(parts, shape=shape, compressed_axes=axes, fill_value=zero)

    def __len__(self) -> int:
        return (len(self.pointers) - 1) // self.frame_shape[0]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape ``(frame, band, y, x)``."""
        return (len(self), *self.frame_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return self.intensity.dtype

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        background = 0 if self.background is None else self.background.nbytes
        return self.pointers.nbytes + self.index.nbytes + self.intensity.nbytes + background

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many pixels each image has, shape ``(frame, band)``."""
        return np.diff(self.pointers).reshape(-1, self.frame_shape[0])

    def __getitem__(self, part: slice | NDArray[Any]) -> SparsePixels:
        """Return some frames, by a slice, or by a choice or numbers of theirs."""
        chosen = np.arange(len(self))[part]
        if len(chosen) and (np.diff(chosen) == 1).all():
            return self._run(int(chosen[0]), int(chosen[-1]) + 1)
        runs = [self._run(one, one + 1) for one in chosen.tolist()]
        return self.joined(runs) if runs else self._run(0, 0)

    def _run(self, start: int, stop: int) -> SparsePixels:
        """Return successive frames: views."""
        bands = self.frame_shape[0]
        pointers = self.pointers[start * bands : stop * bands + 1]
        held = slice(int(pointers[0]), int(pointers[-1]))
        return replace(
            self,
            pointers=pointers - pointers[0],
            index=self.index[held],
            intensity=self.intensity[held],
            background=None if self.background is None else self.background[start:stop],
        )

    def copied(self) -> SparsePixels:
        """Return the same in memory of its own."""
        background = None if self.background is None else self.background.copy()
        return replace(
            self,
            pointers=self.pointers.copy(),
            index=self.index.copy(),
            intensity=self.intensity.copy(),
            background=background,
        )

    @classmethod
    def joined(cls, parts: Sequence[SparsePixels]) -> SparsePixels:
        """Return the frames of several, one after the other."""
        first = parts[0]
        counts = np.concatenate([np.diff(part.pointers) for part in parts])
        known = [part.background for part in parts if part.background is not None]
        return cls(
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            np.concatenate([part.index for part in parts]),
            np.concatenate([part.intensity for part in parts]),
            first.frame_shape,
            np.concatenate(known) if len(known) == len(parts) else None,
        )


def is_sparse(array: Any) -> bool:
    """Tell whether an array, lazy or not, is one of the library ``sparse``."""
    return hasattr(getattr(array, "_meta", array), "todense")


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Where the background of sparse frames is known: it depends on the radius alone.

    Parameters
    ----------
    radius:
        The radii at which it is told, increasing, shape ``(radius,)``.
    pixel_radius:
        The radius of each pixel, shape ``(y, x)``, float32; NaN where there is no background.
    unit:
        The unit of the radii, in words of pyFAI.
    """

    radius: NDArray[np.float64]
    pixel_radius: NDArray[np.float32]
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Backgrounds:
    """The background of sparse frames, as a labelled block carries it: found by frame number.

    Parameters
    ----------
    where:
        Where it is known.
    read:
        Returns that of some frames, by their numbers: shape ``(frame, band, radius, 2)``.
    """

    where: Background
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]

    @classmethod
    def of(
        cls, where: Background, numbers: NDArray[np.int64], values: NDArray[np.float32]
    ) -> Backgrounds:
        """Return those of a block's frames, whose numbers increase."""
        return cls(where, partial(_of_frames, numbers, values))


def _of_frames(
    known: NDArray[np.int64], values: NDArray[np.float32], numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    return values[np.searchsorted(known, numbers)]
