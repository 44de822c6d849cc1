"""A slot of the pool for frames that the detector has compressed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Frame
from limadask.engine.slot import Slot
from limadask.frames import ALIGNMENT, Codec, Frames, Packed, Spec


class PackedSlot(Slot):
    """Room for chunks, one after the other: the better they are compressed, the more blocks.

    Parameters
    ----------
    memory:
        Shape ``(byte,)``, uint8.
    spec:
        The frames.
    """

    def __init__(self, memory: NDArray[np.uint8], spec: Spec) -> None:
        super().__init__(spec)
        self._memory, self._end = memory, 0

    def _begin(self) -> None:
        super()._begin()
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._codec: Codec | None = None

    @property
    def is_full(self) -> bool:
        """Whether no room is left; of what does not fit this is not known before it comes."""
        return self._end >= len(self._memory)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been put into it: what does not fit now never will."""
        return self._end == 0

    def fits(self, frame: Frame) -> bool:
        """Tell whether there is room for a frame, in a block whose chunks are all alike."""
        needed = sum(len(chunk) + ALIGNMENT for chunk in frame.chunks)
        return self._end + needed <= len(self._memory) and self._codec in (None, frame.codec)

    def _put(self, frame: Frame) -> None:
        bands = self._spec.frame_shape[0]
        if len(frame.chunks) != bands or frame.invalid is not None:
            raise ValueError(
                f"frame {frame.index} has {len(frame.chunks)} chunks, a packed frame has one for "
                f"each of {bands} bands, and no invalid pixels"
            )
        self._codec = frame.codec
        self._take(frame)

    def _take(self, frame: Frame) -> None:
        """Copy the chunks of a frame."""
        for chunk in frame.chunks:
            data = np.frombuffer(chunk, np.uint8)
            self._memory[self._end : self._end + data.size] = data
            self._note(data.size)

    def _note(self, size: int) -> None:
        """Count a chunk."""
        self._offsets.append(self._end)
        self._sizes.append(size)
        self._end = -(-(self._end + size) // ALIGNMENT) * ALIGNMENT

    def _block(self, frames: Frames, order: NDArray[np.int64] | None) -> Frames:
        bands, *shape = self._spec.frame_shape
        offsets = np.array(self._offsets, np.int64).reshape(-1, bands)
        sizes = np.array(self._sizes, np.int64).reshape(-1, bands)
        first = int(offsets[0, 0])
        data = self._memory[first : self._offsets[-1] + self._sizes[-1]]
        packed = Packed(
            data, offsets - first, sizes, self._codec or "none", (shape[0], shape[1]),
            self._spec.dtype,
        )  # fmt: skip
        frames.packed = packed if order is None else packed[order]
        return frames
