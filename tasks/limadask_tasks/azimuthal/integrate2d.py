"""Azimuthal integration to maps of radius and azimuth."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import PositiveInt

from limadask_tasks.azimuthal.task import AzimuthalTask


class Integrate2d(AzimuthalTask):
    """Intensity as a function of azimuth and radius, with the numbers of pyFAI's ``integrate2d``.

    By-products with dims ``(frame, band, azimuthal, radial)``: ``intensity``, and ``sigma``, the
    standard error of this mean, with an error model. The azimuth is in degrees. Otherwise as
    ``integrate1d``; the matrix takes 12 bytes for each pixel and bin it is in.

    A map of each frame travels with its receipt: keep ``npt_rad`` × ``npt_azim`` small.
    """

    bins: ClassVar[tuple[str, ...]] = ("azimuthal", "radial")

    npt_rad: PositiveInt
    """Number of radial bins."""
    npt_azim: PositiveInt = 360
    """Number of azimuthal bins."""
    split: Literal["no", "bbox", "full"] = "bbox"
    """How a pixel is split over bins: not at all, by its bounding box, or by its true shape."""
    error_model: Literal["poisson", "azimuthal"] | None = None
    """Where ``sigma`` comes from, as for ``integrate1d``."""

    @property
    def has_sigma(self) -> bool:
        """Whether there is an error model."""
        return self.error_model is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        """How many bins there are."""
        return self.npt_azim, self.npt_rad

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
        return engine.integrate2d(
            image, self.npt_rad, self.npt_azim, error_model=self.error_model, **arguments
        )
