"""Colours from the mosaic of a camera with colour filters."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import PATTERNS, Pattern, Rect, pattern_on
from limadask.task import Kernel, PixelTask
from limadask_tasks import demosaic_kernels
from limadask_tasks.dtypes import limits

COLOURS = ("red", "green", "blue")


class Demosaic(PixelTask):
    """Make red, green and blue of a camera whose pixels have a colour filter each.

    Frames ``(frame, 1, y, x)`` become ``(frame, 3, y, x)`` of the same type. Each pixel keeps its
    own colour, and gets the two others from its neighbours. The pattern follows the grid: frames
    may have been cropped, flipped and turned before, but not binned.

    At the edge, and where a filter would reach for a pixel that holds no value, the mean of the
    nearest pixels of that colour that hold one is taken. A pixel that holds no value itself holds
    none in any band.
    """

    pattern: Pattern | None = None
    """Colours of the detector's pixels (0, 0), (0, 1), (1, 0) and (1, 1), repeated over its image;
    None takes what the detector tells."""
    method: Literal["malvar", "bilinear"] = "malvar"
    """``malvar``: linear filters of 5 × 5 pixels that take the shape of one colour from another
    (H. S. Malvar, L. He, R. Cutler, ICASSP 2004); ``bilinear``: the mean of the nearest pixels of
    each colour, which no other colour touches."""

    def plan(self, spec: Spec) -> Spec:
        """Predict the three bands, and what is masked in each."""
        red = self._red(spec)
        masked = None if spec.masked is None else _masked(_plane(spec), red)
        return spec.replace(bands=COLOURS, masked=masked, pattern="")

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        masked, red = _plane(spec), np.array(self._red(spec))
        # float32 is exact for all sums of 16-bit pixels
        small = spec.dtype.itemsize <= 2 or spec.dtype == np.dtype("f4")
        wide = np.dtype("f4") if small else np.dtype("f8")
        low, high = limits(spec.dtype, wide)
        units, rounds, malvar = np.ones(1, wide), spec.dtype.kind != "f", self.method == "malvar"

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            demosaic_kernels.demosaic(
                pixels, masked, red, malvar, units, rounds, low, high, spec.fill, out
            )

        return run

    def for_part(self, whole: Spec, region: Rect) -> Demosaic:
        """Return the same task, where what lies around the part has no value anyway."""
        reach = demosaic_kernels.REACH
        masked = np.pad(_plane(whole), reach, constant_values=True)
        rows, columns = region.height + 2 * reach, region.width + 2 * reach
        around = masked[region.y : region.y + rows, region.x : region.x + columns].copy()
        around[reach:-reach, reach:-reach] = True
        if not around.all():
            raise ConfigError(
                "the colours of a part's pixels come from those of another part beside it",
                field="task",
                value=self.task_name(),
                allowed=f"parts with {reach} masked pixels between them, or the task assemble",
            )
        return self

    def _red(self, spec: Spec) -> tuple[int, int]:
        """Return ``(y, x)`` of the first red pixel.

        Raises
        ------
        ConfigError
            When the frames are no mosaic.
        """
        if len(spec.bands) != 1:
            raise ConfigError(
                f"the frames have the bands {', '.join(spec.bands)}: a mosaic has one",
                field="pattern",
                value=self.pattern,
                allowed="frames of one band; select_band picks one",
            )
        pattern = self.pattern or spec.pattern
        try:
            here = pattern_on(spec.grid, pattern or PATTERNS[0])
        except ValueError as error:
            raise ConfigError(
                f"{error}, of different colours: demosaic first, then bin",
                field="pattern",
                value=pattern or None,
                allowed="frames that were cropped, flipped or turned by quarters, but not binned",
            ) from error
        if not pattern:
            raise ConfigError(
                "the detector does not tell which of its pixels has which colour",
                field="pattern",
                value=None,
                allowed=PATTERNS,
            )
        if min(spec.grid.shape) < 2:
            raise ConfigError(
                f"an image of {spec.grid.shape[0]} × {spec.grid.shape[1]} pixels lacks a colour",
                field="pattern",
                value=pattern,
                allowed="at least 2 rows and 2 columns",
            )
        y, x = divmod(here.index("r"), 2)
        return y, x


def _masked(masked: NDArray[np.bool_], red: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels hold no value in each band, ``(y, x)`` where all bands are alike."""
    y, x = np.ogrid[: masked.shape[0], : masked.shape[1]]
    is_red = (y % 2 == red[0]) & (x % 2 == red[1])
    is_blue = (y % 2 != red[0]) & (x % 2 != red[1])
    sites = is_red, ~(is_red | is_blue), is_blue
    bands = np.stack([masked | ~_near(site & ~masked) for site in sites])
    return masked if (bands == masked).all() else bands


def _plane(spec: Spec) -> NDArray[np.bool_]:
    """Return which pixels of the one band are masked, ``(y, x)``."""
    if spec.masked is None:
        return np.zeros(spec.grid.shape, bool)
    return np.ascontiguousarray(spec.masked.reshape(spec.grid.shape))


def _near(site: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels have one of these among themselves and their eight neighbours."""
    rows, columns = site.shape
    padded = np.pad(site, 1)
    moves = [(y, x) for y in range(3) for x in range(3)]
    return np.asarray(np.any([padded[y : y + rows, x : x + columns] for y, x in moves], axis=0))
