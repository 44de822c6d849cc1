"""A slot of the pool for compressed frames that need not be copied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Frame
from limadask.engine.packed_slot import PackedSlot
from limadask.frames import Frames, Scattered


class KeepingSlot(PackedSlot):
    """Counts chunks that stay where the plugin has received them, as if they lay in here.

    For blocks that do not leave the process: to copy a chunk may cost more than to receive it. The
    slot is lent for as long as a block of it is there, and so bounds their memory.

    Parameters
    ----------
    memory:
        Shape ``(byte,)``, uint8; never written to.
    spec:
        The frames.
    """

    def _begin(self) -> None:
        super()._begin()
        self._pieces: list[NDArray[np.uint8]] = []

    def _take(self, frame: Frame) -> None:
        for chunk in frame.chunks:
            piece = np.frombuffer(chunk, np.uint8)
            self._pieces.append(piece if frame.is_owned else piece.copy())
            self._note(piece.size)

    def _block(self, frames: Frames, order: NDArray[np.int64] | None) -> Frames:
        bands, rows, columns = self._spec.frame_shape
        sizes = np.array(self._sizes, np.int64).reshape(-1, bands)
        pieces = np.empty(len(self._pieces), object)
        pieces[:] = self._pieces
        packed = Scattered(
            self._memory[:0], np.zeros_like(sizes), sizes, self._codec or "none", (rows, columns),
            self._spec.dtype, pieces.reshape(-1, bands),
        )  # fmt: skip
        frames.packed = packed if order is None else packed[order]
        return frames
