"""Azimuthal integration of what is left when outliers are clipped."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from limadask_tasks.azimuthal.task import AzimuthalTask


class SigmaClip(AzimuthalTask):
    """Background between peaks: mean of each ring without outliers, by pyFAI's ``sigma_clip``.

    Pixels further than ``threshold`` standard deviations from the mean of their ring are left out,
    then mean and deviation are taken again, up to ``max_iterations`` times. By-products with dims
    ``(frame, band, radial)``: ``intensity``, ``sigma`` (the standard error of this mean), ``std``
    (the standard deviation of a pixel) and ``count`` (pixels left). Pixels are not split.

    pyFAI's own engine does it, without the GIL; each thread has one.
    """

    bins: ClassVar[tuple[str, ...]] = ("radial",)

    npt: PositiveInt
    """Number of bins."""
    threshold: PositiveFloat = 5.0
    """Standard deviations that a pixel may be off."""
    max_iterations: Annotated[int, Field(ge=1)] = 5
    """How often outliers are looked for."""
    error_model: Literal["poisson", "azimuthal", "hybrid"] = "azimuthal"
    """Where deviations come from: the spread within a ring, counts, or the spread while clipping
    and counts at the end."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """How many bins there are."""
        return (self.npt,)

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the variables."""
        return "intensity", "sigma", "std", "count"

    @property
    def is_left_to_pyfai(self) -> bool:
        """Whether pyFAI's own engine does the work."""
        return True

    def integrated(self, engine: Any, image: NDArray[Any], **arguments: Any) -> Any:
        """Return what pyFAI makes of one image."""
        return engine.sigma_clip(
            image,
            self.npt,
            thres=self.threshold,
            max_iter=self.max_iterations,
            error_model=self.error_model,
            **arguments,
        )
