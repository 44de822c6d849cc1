"""A few frames of a block, small enough to stay in the cache from step to step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames


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
        if self._frames is None:
            self._frames = self._block[self.part]
            self._frames.invalid = {}  # what they lack here is known to the step
        return self._frames.carrying(pixels)


class Value:
    """What a step yields: pixels, the tile they belong to, and what they lack.

    The pixels are read-only: other steps read the same memory, and other processes may.

    Parameters
    ----------
    pixels:
        Shape ``(frame, band, y, x)``.
    tile:
        What is known of the frames.
    missing:
        Pixels that these frames lack, beyond those masked in all frames; None where they lack
        none.
    """

    __slots__ = ("missing", "pixels", "tile")

    def __init__(
        self, pixels: NDArray[Any], tile: Tile, missing: NDArray[np.bool_] | None = None
    ) -> None:
        self.pixels, self.tile, self.missing = read_only(pixels), tile, missing

    def contiguous(self) -> NDArray[Any]:
        """Return the pixels C-contiguous; a copy is made once and kept for the next who asks."""
        if not self.pixels.flags.c_contiguous:
            self.pixels = read_only(np.ascontiguousarray(self.pixels))
        return self.pixels

    def frames(self) -> Frames:
        """Return the pixels with all that is known of them."""
        return self.tile.frames(self.pixels)


def read_only(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to; also what kernels are compiled for."""
    pixels = pixels.view()
    pixels.flags.writeable = False
    return pixels
