"""Make frames of sparse ones that have all their pixels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.task import Conversion, Convert
from limadask_tasks import sparse_kernels
from limadask_tasks.correction import as_coefficients


class Densify(Conversion):
    """Give sparse frames all their pixels: those that are not kept are 0, masked ones the fill."""

    takes_sparse: ClassVar[bool] = True

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
        fill = spec.fill
        masked = None if spec.masked is None else as_coefficients(spec.masked, spec)

        def convert(frames: Frames) -> Frames:
            sparse = frames.sparse
            if sparse is None:
                raise TypeError("densify was planned for sparse frames and got dense ones")
            out = np.zeros(sparse.shape, spec.dtype)
            sparse_kernels.scatter(sparse.pointers, sparse.index, sparse.intensity, out)
            if masked is not None:
                sparse_kernels.fill_masked(masked, fill, out)
            return frames.carrying(out)

        return convert
