"""One band of several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task import Kernel, PixelTask


class SelectBand(PixelTask):
    """Go on with one band: frames ``(frame, band, y, x)`` become ``(frame, 1, y, x)``."""

    band: str | NonNegativeInt
    """Its name, or its place among the bands, from 0."""

    def plan(self, spec: Spec) -> Spec:
        """Predict the one band, and what is masked in it."""
        place = self._place(spec)
        masked = spec.masked
        if masked is not None and masked.ndim == 3:
            masked = masked[place] if masked[place].any() else None
        return spec.replace(bands=(spec.bands[place],), masked=masked)

    def kernel(self, spec: Spec) -> Kernel:
        """Return what copies the band: what comes after wants its frames one behind the other."""
        place = self._place(spec)

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            np.copyto(out[:, 0], pixels[:, place])

        return run

    def _place(self, spec: Spec) -> int:
        if isinstance(self.band, int) and self.band < len(spec.bands):
            return self.band
        if self.band in spec.bands:
            return spec.bands.index(str(self.band))
        raise ConfigError(
            "the frames have no such band", field="band", value=self.band,
            allowed=[*spec.bands, f"0 … {len(spec.bands) - 1}"],
        )  # fmt: skip
