"""A few frames of a block, small enough to stay in the cache from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Packed, SparsePixels
from limadask.memory import Memory
from limadask.task import Rows, Values


class Tile:
    """What is known of some frames of a block; only steps that ask for it pay for the slicing.

    Parameters
    ----------
    block:
        The block.
    part:
        Which of its frames.
    """

    __slots__ = ("_block", "_frames", "part")

    def __init__(self, block: Frames, part: slice) -> None:
        self._block, self.part = block, part
        self._frames: Frames | None = None

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Frame numbers, shape ``(frame,)``."""
        return self._block.numbers[self.part]

    def frames(self, pixels: NDArray[Any]) -> Frames:
        """Return these frames with the given pixels."""
        return self._own().carrying(pixels)

    def holding(self, sparse: SparsePixels) -> Frames:
        """Return these frames with only the pixels that hold something."""
        return self._own().holding(sparse)

    def rows(self, values: Values) -> Rows:
        """Return by-products of these frames."""
        return Rows.of(self._own(), values)

    def packed(self, packed: Packed) -> Frames:
        """Return these frames with the given chunks."""
        own = self._own()
        return replace(own, pixels=own.pixels[:0], packed=packed)

    def _own(self) -> Frames:
        if self._frames is None:
            self._frames = self._block[self.part]
            self._frames.invalid = {}  # what they lack here is known to the step
        return self._frames


class Value:
    """What a step yields: pixels, the tile they belong to, and what they lack.

    The pixels are read-only: other steps read the same memory, and other processes may.

    Parameters
    ----------
    pixels:
        Shape ``(frame, band, y, x)``, or what decodes them as soon as somebody asks for them.
    tile:
        What is known of the frames.
    missing:
        Pixels that these frames lack, beyond those masked in all frames; None where they lack
        none.
    packed:
        The same frames as the detector has compressed them, where they are nothing else.
    sparse:
        The pixels that hold something, where only these are kept; there are no others then.
    memory:
        Where the pixels are copied to when somebody needs them C-contiguous; None for new memory.
    """

    __slots__ = ("_memory", "_pixels", "missing", "packed", "sparse", "tile")

    def __init__(
        self,
        pixels: NDArray[Any] | Callable[[], NDArray[Any]],
        tile: Tile,
        missing: NDArray[np.bool_] | None = None,
        packed: Packed | None = None,
        sparse: SparsePixels | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._pixels, self.tile, self.missing, self.packed = pixels, tile, missing, packed
        self.sparse, self._memory = sparse, memory
        if not callable(pixels):
            self._pixels = read_only(pixels)

    @classmethod
    def of(cls, frames: Frames) -> Value:
        """Return frames as a value of their own."""
        return cls(frames.pixels, Tile(frames, slice(None)), sparse=frames.sparse)

    @property
    def pixels(self) -> NDArray[Any]:
        """The pixels, shape ``(frame, band, y, x)``; decoded once, for all who ask."""
        if callable(self._pixels):
            self._pixels = read_only(self._pixels())
        return self._pixels

    def decode(self) -> bool:
        """Decode the pixels now; False if they cannot be."""
        try:
            return len(self.pixels) == len(self.tile.numbers)
        except ValueError:
            return False

    def contiguous(self) -> NDArray[Any]:
        """Return the pixels C-contiguous; a copy is made once and kept for the next who asks."""
        pixels = self.pixels
        if not pixels.flags.c_contiguous:
            copied = (self._memory or np.empty)(pixels.shape, pixels.dtype)
            np.copyto(copied, pixels)
            self._pixels = read_only(copied)
        return self.pixels

    def frames(self) -> Frames:
        """Return the pixels with all that is known of them."""
        if self.sparse is not None:
            return self.tile.holding(self.sparse)
        return self.tile.frames(self.pixels)


class Measured:
    """By-products that a step yields, for those who ask for them, and the tile they are of.

    Parameters
    ----------
    values:
        What returns them.
    tile:
        What is known of the frames.
    """

    __slots__ = ("_values", "tile")

    def __init__(self, values: Callable[[], Values], tile: Tile) -> None:
        self._values, self.tile = values, tile

    def rows(self) -> Rows:
        """Return the by-products with all that is known of the frames."""
        return self.tile.rows(self._values())


def read_only(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to; also what kernels are compiled for."""
    pixels = pixels.view()
    pixels.flags.writeable = False
    return pixels
