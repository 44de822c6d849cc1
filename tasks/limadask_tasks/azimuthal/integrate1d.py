"""Azimuthal integration to curves."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import PositiveInt

from limadask_tasks.azimuthal.task import AzimuthalTask


class Integrate1d(AzimuthalTask):
    """Intensity as a function of radius, with the numbers of pyFAI's ``integrate1d``.

    By-products with dims ``(frame, band, radial)``: ``intensity``, and ``sigma``, the standard
    error of this mean, with an error model. Masked pixels, those that the detector masks, and NaN
    are left out.

    pyFAI makes the matrix of pixels and bins from the geometry, once per worker; compiled loops
    apply it, all threads the same one. For each pixel it takes 2 bytes without splitting, 6 with
    it, and 4 for weights (4 more with a dark). The error model ``azimuthal`` and OpenCL devices
    are left to pyFAI's own engines, one for each thread.
    """

    bins: ClassVar[tuple[str, ...]] = ("radial",)

    npt: PositiveInt
    """Number of bins."""
    split: Literal["no", "bbox", "full"] = "bbox"
    """How a pixel is split over bins: not at all, by its bounding box, or by its true shape."""
    error_model: Literal["poisson", "azimuthal"] | None = None
    """Where ``sigma`` comes from: counts (a pixel's variance is at least 1, as in pyFAI), or the
    spread within a ring; None yields no ``sigma``."""

    @property
    def has_sigma(self) -> bool:
        """Whether there is an error model."""
        return self.error_model is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        """How many bins there are."""
        return (self.npt,)

    @property
    def splitting(self) -> Literal["no", "bbox", "full"]:
        """How pixels are split."""
        return self.split

    @property
    def is_left_to_pyfai(self) -> bool:
        """Whether pyFAI's own engines do the work."""
        return self.opencl is not None or self.error_model == "azimuthal"

    def integrated(self, engine: Any, image: NDArray[Any], **arguments: Any) -> Any:
        """Return what pyFAI makes of one image."""
        return engine.integrate1d(image, self.npt, error_model=self.error_model, **arguments)
