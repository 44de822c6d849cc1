"""Integration by pyFAI's own engines; needs pyFAI."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from limadask.frames import Spec
from limadask_tasks.azimuthal.geometry import GEOMETRY
from limadask_tasks.azimuthal.matrix import Pixels
from limadask_tasks.azimuthal.setting import Setting, method_of


class Integrators:
    """Lends integrators of one geometry, each to one thread at a time.

    pyFAI's engines work in buffers of their own, so threads that integrate at the same time have a
    matrix each (8 bytes for every pixel and bin it is in), made with their first frame.

    Parameters
    ----------
    model:
        What they are copies of.
    alone:
        Whether one is lent at a time, for an OpenCL device.
    """

    def __init__(self, model: AzimuthalIntegrator, alone: bool) -> None:
        self._model, self._lock = model, threading.Lock()
        self._turn: Any = threading.Lock() if alone else nullcontext()
        self._free: list[AzimuthalIntegrator] = []

    @contextmanager
    def lent(self) -> Iterator[AzimuthalIntegrator]:
        """Lend one."""
        with self._turn:
            with self._lock:
                engine = self._free.pop() if self._free else None
            # the first frames of a new one make its matrix
            turn = GEOMETRY if engine is None else nullcontext()
            if engine is None:
                engine = copy.copy(self._model)
                engine.empty = self._model.empty  # which copies forget
            try:
                with turn:
                    yield engine
            finally:
                with self._lock:
                    self._free.append(engine)


@dataclass(frozen=True, eq=False)
class Lent:
    """Integrates frames by pyFAI, image by image.

    Parameters
    ----------
    setting:
        The task, and its geometry.
    integrators:
        What lends integrators.
    arguments:
        What they are called with, beside the image.
    missing:
        Pixels to leave out beside those in pyFAI's mask, shape ``(band or 1, y, x)``: they become
        NaN, so that its matrix stays.
    """

    setting: Setting
    integrators: Integrators
    arguments: dict[str, Any]
    missing: NDArray[np.bool_]

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return a table ``(frame, band, …, variable)``."""
        with self.integrators.lent() as engine:
            frames = [
                np.stack([self._integrated(engine, image, band) for band, image in enumerate(one)])
                for one in pixels
            ]
        return np.stack(frames)

    def lacking(self, spec: Spec) -> Lent:
        """Return the same for frames that lack pixels."""
        masked = spec.masked
        if masked is None:
            return self
        return replace(self, missing=masked if masked.ndim == 3 else masked[np.newaxis])

    def _integrated(
        self, engine: AzimuthalIntegrator, image: Pixels, band: int
    ) -> NDArray[np.float32]:
        setting, missing = self.setting, self.missing[band % len(self.missing)]
        if missing.any():
            image = np.where(missing, np.float32(np.nan), image.astype(np.float32))
        dark, flat = (
            None if one is None else one[band % len(one)] for one in (setting.dark, setting.flat)
        )
        if setting.spec.nb_averaged > 1:  # means become sums of counts
            scale = np.float32(setting.spec.nb_averaged)
            image, dark = image * scale, None if dark is None else dark * scale
        given = {**self.arguments, "dark": dark, "flat": flat}
        result = setting.task.integrated(engine, image, **given)
        parts = [getattr(result, name) for name in setting.task.results]
        return np.stack(parts, axis=-1).astype(np.float32)


def lent(setting: Setting) -> Lent:
    """Return what integrates frames of a geometry by pyFAI."""
    model, area = setting.integrator()
    task, common, usable = setting.task, setting.common, setting.usable(model)
    arguments = {
        "unit": setting.unit,
        "correctSolidAngle": task.correct_solid_angle,
        "polarization_factor": task.polarization_factor,
        "radial_range": task.radial_range,
        "azimuth_range": task.azimuth_range,
        "mask": common.astype(np.int8) if common.any() else None,
        "dummy": None if usable is None or np.isnan(usable.dummy) else usable.dummy,
        "delta_dummy": None if usable is None else usable.delta or None,
        "normalization_factor": area,
        "method": method_of(task),
    }
    integrators = Integrators(model, alone=task.opencl is not None)
    return Lent(setting, integrators, arguments, setting.masked & ~common)
