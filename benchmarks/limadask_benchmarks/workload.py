"""What all benchmarks work on: the simulator's frames, a mask and flat-field, four regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.geometry import Grid, Rect
from limadask_detectors import Simulator
from limadask_tasks import Flatfield, Mask
from limadask_tasks.roi_statistics import pixel_runs

ROIS = tuple(Rect(100 + 200 * k, 100 + 150 * k, 64, 64) for k in range(4))


def camera(rows: int, columns: int, **fields: Any) -> Simulator:
    """Return the camera."""
    return Simulator(shape=(rows, columns), **fields)


def images(rows: int, columns: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a mask with 1 % of the pixels, and a flat-field with one value a chip."""
    random = np.random.default_rng(1)
    mask = (random.random((rows, columns)) < 0.01).astype(np.uint8)
    chips = random.normal(1, 0.03, (rows // 256 + 1, columns // 256 + 1)).astype(np.float32)
    return mask, np.repeat(np.repeat(chips, 256, 0), 256, 1)[:rows, :columns]


def corrections(rows: int, columns: int) -> tuple[Mask, Flatfield]:
    """Return the two corrections."""
    mask, flat = images(rows, columns)
    return Mask(array=mask), Flatfield(array=flat)


def spec(rows: int, columns: int) -> Spec:
    """Return the spec of the frames, masked."""
    plain = Spec(Grid((rows, columns)), np.dtype("uint16"))
    return corrections(rows, columns)[0].plan(plain)


def flatfield(rows: int, columns: int) -> NDArray[Any]:
    """Return what pixels are divided by, NaN where masked, shape ``(1, pixel)``."""
    return corrections(rows, columns)[1].divisor(spec(rows, columns))


def runs_of(rows: int, columns: int) -> NDArray[np.int64]:
    """Return the pixels of the regions."""
    return pixel_runs(ROIS, spec(rows, columns), "image")
