"""A task's geometry for given frames; needs pyFAI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pyFAI import units
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from pyFAI.method_registry import IntegrationMethod

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask_tasks.azimuthal.band import Band
from limadask_tasks.azimuthal.extent import Extent, Masked, centres, extent
from limadask_tasks.azimuthal.geometry import GEOMETRY, integrator, poni_text, unit_named
from limadask_tasks.azimuthal.matrix import Matrix, Usable

if TYPE_CHECKING:
    from limadask_tasks.azimuthal.task import AzimuthalTask


@dataclass(frozen=True, eq=False)
class Setting:
    """Where the pixels of given frames lie, and which of them are used.

    Parameters
    ----------
    task, spec:
        The task, and what it gets.
    text:
        The geometry as JSON.
    unit:
        The radial unit.
    dark, flat:
        Images ``(band or 1, y, x)``, None where there are none.
    masked:
        Pixels that are never used, shape ``(band or 1, y, x)``.
    extent:
        What bins cover.
    """

    task: AzimuthalTask
    spec: Spec
    text: str
    unit: units.Unit
    dark: NDArray[Any] | None
    flat: NDArray[Any] | None
    masked: NDArray[np.bool_]
    extent: Extent

    @classmethod
    def of(cls, task: AzimuthalTask, spec: Spec) -> Self:
        """Read and check everything.

        Raises
        ------
        ConfigError
            When something does not fit.
        """
        text = poni_text(task.poni)
        unit = unit_named(task.unit, text)
        engine, _ = integrator(text, spec.grid)
        dark, flat = task.image("dark", spec), task.image("flat", spec)
        masked = masked_pixels(engine, spec, dark, flat, usable_values(task, engine, spec))
        common = Masked(np.asarray(masked.all(axis=0)))
        where = text, spec.grid, task.unit, task.splitting, common
        with GEOMETRY:
            found = extent(*where, task.radial_range, task.azimuth_range, len(task.bins) > 1)
            if not found.nb_pixels:
                whole = extent(*where, None, None, False)
                raise _nothing_in(task, unit, whole)
        return cls(task, spec, text, unit, dark, flat, masked, found)

    def centres(self) -> list[NDArray[np.float64]]:
        """Return the centres of bins along each of the task's dimensions."""
        radial = centres(self.extent.radial, self.task.numbers[-1]) * self.unit.scale
        if self.extent.azimuthal is None or len(self.task.bins) == 1:
            return [radial]
        return [np.degrees(centres(self.extent.azimuthal, self.task.numbers[0])), radial]

    def integrator(self) -> tuple[AzimuthalIntegrator, float]:
        """Return pyFAI's integrator, and the detector pixels that one pixel covers."""
        engine, area = integrator(self.text, self.spec.grid)
        engine.empty = self.task.empty
        return engine, area

    def radius(self) -> NDArray[np.float32]:
        """Return the radius of each pixel in the radial unit, shape ``(y, x)``; NaN if unused."""
        engine, _ = self.integrator()
        with GEOMETRY:
            radius = engine.center_array(self.spec.grid.shape, self.unit, scale=True)
        return np.where(self.common, np.float32(np.nan), radius.astype(np.float32))

    def usable(self, engine: AzimuthalIntegrator) -> Usable | None:
        """Return which values are used; None where all are: integers, and no dummy."""
        return usable_values(self.task, engine, self.spec)

    def bands(self) -> list[Band]:
        """Return what integrates each band, with the matrix that pyFAI makes of the geometry.

        That is one for all bands where these are alike.
        """
        engine, area = self.integrator()
        with GEOMETRY:
            matrix, weight = self._matrix(engine), self._weight(engine) * area
        masked = self.masked | ~np.isfinite(weight) | (weight == 0)
        weight = np.where(masked, 0, weight).astype(np.float32)
        dark = None if self.dark is None else np.where(masked, 0, self.dark).astype(np.float32)
        task, method = self.task, method_of(self.task)
        fixed = (
            self.spec.nb_averaged, task.has_sigma, self.usable(engine), task.empty,
            not method.manage_variance,
        )  # fmt: skip
        stacks = [masked, weight] if dark is None else [masked, weight, dark]
        made = []
        for number in range(max(map(len, stacks))):
            mine, *images = (one[number % len(one)].ravel() for one in stacks)
            own = matrix.without(mine) if (mine & ~self.common.ravel()).any() else matrix
            made.append(Band.of(own, images[0], images[1] if images[1:] else None, *fixed))
        return made

    @property
    def common(self) -> NDArray[np.bool_]:
        """Pixels that are used in no band, shape ``(y, x)``."""
        return np.asarray(self.masked.all(axis=0))

    def _matrix(self, engine: AzimuthalIntegrator) -> Matrix:
        """Return the bins × pixels matrix of the pixels that are used in some band."""
        task, common = self.task, self.common
        counts = tuple(reversed(task.numbers))
        made = engine.setup_sparse_integrator(
            self.spec.grid.shape,
            counts if len(counts) > 1 else counts[0],
            mask=common.astype(np.int8) if common.any() else None,
            pos0_range=self.extent.radial,
            pos1_range=self.extent.azimuthal,
            unit=(self.unit, units.CHI_DEG) if len(counts) > 1 else self.unit,
            split=task.splitting,
            algo="CSC",
            scale=False,
        )
        return Matrix.of(int(np.prod(counts)), made.data, made.indices, made.indptr)

    def _weight(self, engine: AzimuthalIntegrator) -> NDArray[np.float64]:
        """Return flat-field · solid angle · polarisation, shape ``(band or 1, y, x)``."""
        shape = self.spec.grid.shape
        weight = np.ones((1, *shape))
        if self.flat is not None:
            weight = weight * self.flat
        if self.task.correct_solid_angle:
            weight = weight * engine.solidAngleArray(shape, True)
        if self.task.polarization_factor is not None:
            weight = weight * engine.polarization(shape, self.task.polarization_factor)
        return weight


def method_of(task: AzimuthalTask) -> IntegrationMethod:
    """Return pyFAI's method of a task.

    Raises
    ------
    ConfigError
        When there is no such OpenCL device.
    """
    device = task.opencl
    engine = "cython" if device is None else "opencl"
    wanted = len(task.bins), task.splitting, "csr", engine
    given = {"target" if isinstance(device, tuple) else "target_type": device}
    found = IntegrationMethod.select_method(*wanted, **given, degradable=False)
    if found:
        return found[0]
    known = IntegrationMethod.select_method(*wanted, degradable=False)
    raise ConfigError(
        "pyFAI finds no such OpenCL device here (it needs pyopencl, and a driver)",
        field="opencl",
        value=device,
        allowed=[one.target for one in known] or "null: no device is found",
    )


def usable_values(task: AzimuthalTask, engine: AzimuthalIntegrator, spec: Spec) -> Usable | None:
    """Return which values are used; None where all are: integers, and no dummy."""
    dummy, delta = task.dummy, task.delta_dummy
    if dummy is None:
        dummy, delta = engine.detector.get_dummies(spec.dtype)
    if dummy is None:
        return Usable() if spec.dtype.kind == "f" else None
    return Usable(float(dummy), float(delta or 0))


def masked_pixels(
    engine: AzimuthalIntegrator,
    spec: Spec,
    dark: NDArray[Any] | None,
    flat: NDArray[Any] | None,
    usable: Usable | None,
) -> NDArray[np.bool_]:
    """Return pixels that are never used, shape ``(band or 1, y, x)``.

    That are those masked before, those that the detector masks (gaps between modules), and those
    whose dark or flat-field is unusable.
    """
    masked = np.zeros((1, *spec.grid.shape), bool)
    if spec.masked is not None:
        masked = masked | spec.masked
    if engine.detector.mask is not None:
        masked = masked | (engine.detector.mask != 0)
    for image in (dark, flat):
        if image is not None:
            masked = masked | ~(usable or Usable()).of(image)
    return masked if flat is None else masked | (flat == 0)


def _nothing_in(task: AzimuthalTask, unit: units.Unit, whole: Extent) -> ConfigError:
    """Return what to say where nothing is left to integrate."""
    if not whole.nb_pixels:
        return ConfigError(
            "all pixels are masked: nothing is left to integrate", field="poni",
            value="no pixel", allowed="at least one pixel that is not masked",
        )  # fmt: skip
    field = "azimuth_range" if task.radial_range is None else "radial_range"
    ends = [f"{end * unit.scale:.6g}" for end in whole.radial]
    return ConfigError(
        "the range takes no pixel of the image",
        field=field,
        value=getattr(task, field),
        allowed=f"within {ends[0]} to {ends[1]} {task.unit}, where there are unmasked pixels"
        + ("" if task.azimuth_range is None else f" at the azimuths {task.azimuth_range}"),
    )
