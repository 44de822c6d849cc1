"""Keep only Bragg peaks, and what the background between them is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from limadask.frames import Background, Frames, SparsePixels, Spec
from limadask.memory import Scratch
from limadask.storage import absolute_path
from limadask.task import Conversion, Convert
from limadask_tasks import sparse_kernels
from limadask_tasks.azimuthal import SigmaClip
from limadask_tasks.correction import as_coefficients


class SparsifyBragg(Conversion):
    """Keep the pixels that stand out of the rings around the beam, as ESRF's crystallography does.

    Sigma-clipping by pyFAI gives mean and standard deviation of the background at each radius; a
    pixel is kept where it exceeds the mean by ``cutoff`` deviations, and by ``noise``. The blocks
    hold peaks, and the background as a function of radius. So do files: fabio reads them, and
    :class:`Densify` makes full frames again. The method of J. Kieffer et al., J. Appl. Cryst. 58
    (2025) 138, and of pyFAI's ``sparsify-Bragg``.
    """

    poni: str | dict[str, Any]
    """The geometry: path of a ``.poni`` file, or its content (pyFAI's ``get_config()``)."""
    npt: PositiveInt = 1000
    """Number of radii."""
    unit: str = "r_mm"
    """The radial unit, by pyFAI's name: ``r_mm``, ``q_nm^-1``, ``2th_deg``, …"""
    radial_range: tuple[float, float] | None = None
    """First and last radius, in ``unit``; None takes all pixels of the image."""
    cutoff: PositiveFloat = 3.0
    """Standard deviations that a pixel must be above the background."""
    noise: NonNegativeFloat = 1.0
    """Counts that it must be above it as well."""
    threshold: PositiveFloat = 5.0
    """Standard deviations beyond which a pixel is no background."""
    max_iterations: Annotated[int, Field(ge=1)] = 5
    """How often such pixels are looked for."""
    error_model: Literal["poisson", "azimuthal", "hybrid"] = "azimuthal"
    """Where deviations come from: the spread within a ring, counts, or the spread while clipping
    and counts at the end."""

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute path."""
        if not isinstance(self.poni, str):
            return self
        return self.replace(poni=absolute_path(self.poni, folder, "poni"))

    def plan(self, spec: Spec) -> Spec:
        """Predict sparse frames, and find the radius of every pixel."""
        setting = self._clip(spec).setting(spec)
        masked = setting.masked if len(setting.masked) > 1 else setting.masked[0]
        background = Background(setting.centres()[0], setting.radius(), self.unit)
        return spec.replace(
            is_sparse=True, background=background, masked=masked if masked.any() else None
        )

    def convert(self, spec: Spec) -> Convert:
        """Return the compiled function; pyFAI's own engine clips, one for each thread."""
        planned, clip = self.plan(spec), self._clip(spec)
        background = planned.background
        assert background is not None  # noqa: S101 - planned so
        measure, names = clip.measure(spec), clip.results
        columns = [names.index("intensity"), names.index("std")]
        _, area = clip.setting(spec).integrator()
        scale = np.float32(area / spec.nb_averaged)  # pyFAI's numbers are those of one pixel
        masked = None if planned.masked is None else as_coefficients(planned.masked, spec)
        place = sparse_kernels.place_among(background.radius, background.pixel_radius, masked)
        scratch = Scratch()

        def convert(frames: Frames) -> Frames:
            pixels = np.ascontiguousarray(frames.pixels)
            told = np.asarray(measure(pixels))[..., columns].astype(np.float32) * scale
            pointers = np.empty(pixels.shape[0] * pixels.shape[1] + 1, np.int64)
            index = scratch.array("index", (pixels.size,), np.int32)
            intensity = scratch.array("intensity", (pixels.size,), spec.dtype)
            count = sparse_kernels.pick(
                pixels, place, told, self.cutoff, self.noise, pointers, index, intensity
            )
            kept = index[:count].copy(), intensity[:count].copy()
            return frames.holding(SparsePixels(pointers, *kept, spec.frame_shape, told))

        return convert

    def _clip(self, spec: Spec) -> SigmaClip:
        """Return what finds the background, at the same radii whatever pixels frames lack."""
        clip = SigmaClip(
            poni=self.poni, npt=self.npt, unit=self.unit, threshold=self.threshold,
            max_iterations=self.max_iterations, error_model=self.error_model,
            correct_solid_angle=False,  # the background is one of counts
            radial_range=self.radial_range,
        )  # fmt: skip
        if self.radial_range is not None:
            return clip
        setting = clip.setting(spec.replace(masked=None))
        first, last = (float(end * setting.unit.scale) for end in setting.extent.radial)
        return clip.replace(radial_range=(first, last + 1e-6 * (last - first)))
