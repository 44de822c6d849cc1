"""Keep only the pixels that hold something."""

from __future__ import annotations

import threading

import numpy as np

from limadask.errors import ConfigError
from limadask.frames import Frames, SparsePixels, Spec
from limadask.task import Conversion, Convert
from limadask_tasks import sparse_kernels
from limadask_tasks.correction import as_coefficients


class Sparsify(Conversion):
    """Keep the pixels above a threshold, and NaN; all others are 0 from then on.

    Frames of a photon-counting detector lose nothing by it at a threshold of 0. Masked pixels are
    left out; :class:`Densify` restores them. Blocks hold arrays of the library ``sparse``.
    """

    threshold: float = 0.0
    """Pixels at or below it are taken for 0."""

    def plan(self, spec: Spec) -> Spec:
        """Predict sparse frames; refuse thresholds that would turn pixels above them into 0."""
        if self.threshold < 0:
            raise ConfigError(
                "pixels that are not kept are 0, which is above this threshold",
                field="threshold",
                value=self.threshold,
                allowed="0 or more",
            )
        if spec.grid.shape[0] * spec.grid.shape[1] >= 1 << 31:
            raise ConfigError(
                f"an image of {spec.grid.shape} has more pixels than can be numbered",
                field="after",
                value=spec.grid.shape,
                allowed="fewer than 2³¹ pixels",
            )
        return spec.replace(is_sparse=True, background=None)

    def convert(self, spec: Spec) -> Convert:
        """Return the compiled function."""
        threshold = sparse_kernels.comparable(self.threshold, spec.dtype)
        masked = np.zeros((0, 0), bool)
        if spec.masked is not None:
            masked = as_coefficients(spec.masked, spec)
        room = threading.local()

        def convert(frames: Frames) -> Frames:
            pixels = np.ascontiguousarray(frames.pixels)
            pointers = np.empty(pixels.shape[0] * pixels.shape[1] + 1, np.int64)
            if getattr(room, "size", 0) < pixels.size:  # the same for every block of a thread
                room.size = pixels.size
                room.index = np.empty(pixels.size, np.int32)
                room.intensity = np.empty(pixels.size, spec.dtype)
            count = sparse_kernels.select(
                pixels, threshold, masked, pointers, room.index, room.intensity
            )
            index, intensity = room.index[:count].copy(), room.intensity[:count].copy()
            return frames.holding(SparsePixels(pointers, index, intensity, spec.frame_shape))

        return convert
