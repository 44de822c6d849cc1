"""What all azimuthal integrations have in common."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.storage import absolute_path
from limadask.task import Measure, Products, Reduction, Variable
from limadask_tasks.azimuthal.summation import Summation
from limadask_tasks.correction import Image, image_of

if TYPE_CHECKING:
    from limadask_tasks.azimuthal.lent import Lent
    from limadask_tasks.azimuthal.setting import Setting

Range = tuple[float, float]
Device = Literal["any", "cpu", "gpu"] | tuple[int, int]


class AzimuthalTask(Reduction):
    """An integration around the beam, with the geometry and the conventions of pyFAI.

    The grid tells where pixels lie after crops, flips, turns and binning, so that curves stay the
    same: intensities are those of one pixel of the calibrated detector, whether binned ones hold
    sums or means.
    """

    bins: ClassVar[tuple[str, ...]]
    """The dimensions of the result after ``band``."""

    poni: str | dict[str, Any]
    """The geometry: path of a ``.poni`` file, or its content (pyFAI's ``get_config()``)."""
    unit: str = "q_nm^-1"
    """The radial unit, by pyFAI's name: ``q_nm^-1``, ``q_A^-1``, ``2th_deg``, ``r_mm``, …"""
    radial_range: Range | None = None
    """First and last radius, in ``unit``; None takes all unmasked pixels."""
    azimuth_range: Range | None = None
    """First and last azimuth, in degrees; None takes all."""
    correct_solid_angle: bool = True
    """Whether to divide by the solid angle of pixels, relative to that at the PONI."""
    polarization_factor: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Polarisation to correct for: 1 horizontal, -1 vertical, 0 circular; None for none."""
    dark: Image = None
    """Path of an image that is subtracted."""
    flat: Image = None
    """Path of an image that is divided by, as a weight of each pixel."""
    dummy: float | None = None
    """Value of pixels to leave out, beside masked ones and NaN; None as the detector has it."""
    delta_dummy: float | None = None
    """How far from ``dummy`` a value is still left out."""
    empty: float = 0.0
    """Value of bins without any pixel; 0 as in pyFAI, or NaN."""
    opencl: Device | None = None
    """OpenCL device that integrates by pyFAI, instead of this task's own engine: ``any``, ``cpu``,
    ``gpu``, or the numbers of platform and device."""

    @field_validator("radial_range", "azimuth_range")
    @classmethod
    def _range(cls, value: Range | None) -> Range | None:
        if value is not None and not (np.isfinite(value).all() and value[0] < value[1]):
            raise ConfigError(
                "a range is two finite numbers", value=value, allowed="[first, last], first < last"
            )
        return value

    @property
    def has_sigma(self) -> bool:
        """Whether there is an error model."""
        return True

    @property
    def is_left_to_pyfai(self) -> bool:
        """Whether pyFAI's own engines do the work."""
        return self.opencl is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        """How many bins there are along each of :attr:`bins`."""
        raise NotImplementedError

    @property
    def splitting(self) -> Literal["no", "bbox", "full"]:
        """How pixels are split."""
        return "no"

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the variables."""
        return ("intensity", "sigma") if self.has_sigma else ("intensity",)

    def absolute(self, folder: Path) -> Self:
        """Return the same task with absolute paths."""
        given = {name: getattr(self, name) for name in ("poni", "dark", "flat")}
        paths = {name: path for name, path in given.items() if isinstance(path, str)}
        return self.replace(
            **{name: absolute_path(path, folder, name) for name, path in paths.items()}
        )

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data."""
        arrays = {
            name: f"{image.shape} {image.dtype}"
            for name in ("dark", "flat")
            if isinstance(image := getattr(self, name), np.ndarray)
        }
        return self.model_dump(mode="json", exclude=set(arrays)) | arrays

    def plan(self, spec: Spec) -> Products:
        """Check the geometry against the image, and find the bins."""
        setting = self.setting(spec)
        counts = Variable(("band", *self.bins), np.dtype("f4"), "counts")
        variables = {
            name: Variable(counts.dims, counts.dtype, "" if name == "count" else counts.units)
            for name in self.results
        }
        labels = {
            dim: ((dim,), values) for dim, values in zip(self.bins, setting.centres(), strict=True)
        }
        units = dict(zip(reversed(self.bins), (self.unit, "chi_deg"), strict=False))
        return Products(variables, {"band": (("band",), list(spec.bands)), **labels}, units)

    def check(self) -> None:
        """Look for the OpenCL device, where it will be used."""
        if self.opencl is not None:
            with_pyfai("setting").method_of(self)

    def measure(self, spec: Spec) -> Measure:
        """Return what integrates frames: compiled loops, or pyFAI where it must be asked."""
        setting = self.setting(spec)
        if self.is_left_to_pyfai:
            made: Measure = with_pyfai("lent").lent(setting)
            return made
        return Summation(setting.bands(), self.numbers)

    def lacking(self, measure: Measure, spec: Spec) -> Measure:
        """Return what integrates frames that lack pixels, on the same bins."""
        whole: Summation | Lent = measure  # type: ignore[assignment]
        return whole.lacking(spec)

    def integrated(self, engine: Any, image: NDArray[Any], **arguments: Any) -> Any:
        """Return what pyFAI makes of one image."""
        raise NotImplementedError

    def setting(self, spec: Spec) -> Setting:
        """Return the geometry of frames that are as ``spec`` says.

        Raises
        ------
        ConfigError
            When something does not fit, or pyFAI is missing.
        """
        made: Setting = with_pyfai("setting").Setting.of(self, spec)
        return made

    def image(self, field: str, spec: Spec) -> NDArray[Any] | None:
        """Return the image of a field, shape ``(band or 1, y, x)``; None where there is none.

        Raises
        ------
        ConfigError
            When it cannot be read, or does not fit the frames.
        """
        source = getattr(self, field)
        if source is None:
            return None
        return image_of(source, field, spec)


def with_pyfai(module: str) -> ModuleType:
    """Return a module of this package that needs pyFAI.

    Raises
    ------
    ConfigError
        When pyFAI is missing.
    """
    try:
        return import_module(f"limadask_tasks.azimuthal.{module}")
    except ImportError as error:
        raise ConfigError(
            "azimuthal integration needs pyFAI: pip install 'limadask[pyfai]', on the client and "
            f"on every worker ({error})",
            field="task",
            value="pyFAI is missing",
            allowed="once it is installed",
        ) from error
