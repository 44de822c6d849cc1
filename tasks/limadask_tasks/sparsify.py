"""Keep only the pixels that hold something."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from limadask.errors import ConfigError
from limadask.frames import Frames, SparsePixels, Spec
from limadask.geometry import Rect
from limadask.memory import Scratch
from limadask.storage import absolute_path
from limadask.task import Conversion, Convert
from limadask_tasks import sparse_kernels
from limadask_tasks.correction import Image, as_coefficients, image_of
from limadask_tasks.mask import masked_by


class Sparsify(Conversion):
    """Keep the pixels above a threshold, and NaN; all others are 0 from then on.

    Frames of a photon-counting detector lose nothing by it at a threshold of 0. Masked pixels are
    left out; :class:`Densify` restores them. Blocks hold arrays of the library ``sparse``.
    """

    threshold: float = 0.0
    """Pixels at or below it are taken for 0."""
    mask: Image = None
    """Path of an image that is not 0 where pixels are left out, as that of :class:`Mask`."""

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute path."""
        if not isinstance(self.mask, str):
            return self
        return self.replace(mask=absolute_path(self.mask, folder, "mask"))

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data."""
        fields = super().effective(spec)
        if isinstance(self.mask, np.ndarray):
            fields["mask"] = f"{self.mask.shape} {self.mask.dtype}"
        return fields

    def for_part(self, whole: Spec, region: Rect) -> Self:
        """Return the same task with the part's own pixels of the mask."""
        if self.mask is None:
            return self
        return self.replace(mask=image_of(self.mask, "mask", whole)[:, *region.slices])

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
        return self._masked(spec).replace(is_sparse=True, background=None)

    def convert(self, spec: Spec) -> Convert:
        """Return the compiled function."""
        threshold = sparse_kernels.comparable(self.threshold, spec.dtype)
        masked, mask = np.zeros((0, 0), bool), self._masked(spec).masked
        if mask is not None:
            masked = as_coefficients(mask, spec)
        scratch = Scratch()

        def convert(frames: Frames) -> Frames:
            pixels = np.ascontiguousarray(frames.pixels)
            pointers = np.empty(pixels.shape[0] * pixels.shape[1] + 1, np.int64)
            index = scratch.array("index", (pixels.size,), np.int32)
            intensity = scratch.array("intensity", (pixels.size,), spec.dtype)
            count = sparse_kernels.select(pixels, threshold, masked, pointers, index, intensity)
            kept = index[:count].copy(), intensity[:count].copy()
            return frames.holding(SparsePixels(pointers, *kept, spec.frame_shape))

        return convert

    def _masked(self, spec: Spec) -> Spec:
        """Return what is masked in frames, with this task's own mask."""
        if self.mask is None:
            return spec
        return masked_by(image_of(self.mask, "mask", spec), spec, "mask", self.mask)
