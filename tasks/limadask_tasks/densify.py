"""Make frames of sparse ones that have all their pixels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Frames, SparsePixels, Spec
from limadask.task import Conversion, Convert
from limadask_tasks import sparse_kernels
from limadask_tasks.correction import as_coefficients


class Densify(Conversion):
    """Give sparse frames all their pixels: those not kept are the background, masked ones the fill.

    The background is 0 after :class:`Sparsify`; after :class:`SparsifyBragg` it is the mean at the
    pixel's radius, rounded where pixels are integers.
    """

    takes_sparse: ClassVar[bool] = True

    noise: bool = False
    """Whether a background with a deviation gets noise of this width, the same for the same
    frame."""

    def plan(self, spec: Spec) -> Spec:
        """Predict dense frames."""
        if not spec.is_sparse:
            raise ConfigError(
                "these frames have all their pixels",
                field="after",
                value=str(spec),
                allowed="a node that yields sparse frames, such as sparsify",
            )
        return spec.replace(is_sparse=False, background=None)

    def convert(self, spec: Spec) -> Convert:
        """Return the compiled function."""
        fill, background = spec.fill, spec.background
        masked = None if spec.masked is None else as_coefficients(spec.masked, spec)
        place = None
        if background is not None:
            place = sparse_kernels.place_among(background.radius, background.pixel_radius, masked)

        def convert(frames: Frames) -> Frames:
            sparse = frames.sparse
            if sparse is None:
                raise TypeError("densify was planned for sparse frames and got dense ones")
            out = np.zeros(sparse.shape, spec.dtype)
            if place is not None and sparse.background is not None:
                out = self._backgrounds(sparse, place, frames.numbers)
            sparse_kernels.scatter(sparse.pointers, sparse.index, sparse.intensity, out)
            if masked is not None:
                sparse_kernels.fill_masked(masked, fill, out)
            return frames.carrying(out)

        return convert

    def _backgrounds(
        self, sparse: SparsePixels, place: NDArray[np.float32], numbers: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Return frames of background alone, in the type of the pixels."""
        told = sparse.background
        out: NDArray[Any] = np.empty(sparse.shape, np.float32)
        sparse_kernels.spread_out(place, told, 0, out)
        if self.noise:
            width = np.empty_like(out)
            sparse_kernels.spread_out(place, told, 1, width)
            for frame, spread, number in zip(out, width, numbers.tolist(), strict=True):
                random = np.random.default_rng(number)
                frame += spread * random.standard_normal(frame.shape, np.float32)
            np.maximum(out, 0, out=out)
        if sparse.dtype.kind == "f":
            return out.astype(sparse.dtype, copy=False)
        limits = np.iinfo(sparse.dtype)
        rounded = np.floor(out + 0.5)
        return np.asarray(np.clip(rounded, limits.min, limits.max).astype(sparse.dtype))
