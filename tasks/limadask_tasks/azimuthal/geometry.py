"""Geometries as pyFAI knows them; needs pyFAI."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyFAI import units
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from pyFAI.io.ponifile import PoniFile

from limadask.errors import ConfigError
from limadask.geometry import Grid
from limadask_tasks.azimuthal.detector import seen_by

GEOMETRY = threading.RLock()
"""Held while pyFAI finds where pixels lie, by one thread at a time: it has each unit's formula as
one compiled expression for the process, and numexpr corrupts the heap when two threads are in the
same one (numexpr's issue 569)."""


def poni_text(poni: str | Mapping[str, Any]) -> str:
    """Return a geometry as JSON, as pyFAI writes it: equal texts are equal geometries.

    Parameters
    ----------
    poni:
        Path of a ``.poni`` file, or its content by key.

    Raises
    ------
    ConfigError
        When it cannot be read, or tells no geometry.
    """
    shown = poni if isinstance(poni, str) else dict(poni)
    allowed = "a .poni file as pyFAI writes it, with a distance and a detector"
    try:
        if isinstance(poni, str):
            Path(poni).read_bytes()[:1]
        read = PoniFile(data=poni if isinstance(poni, str) else dict(poni))
        text = json.dumps(read.as_dict(), sort_keys=True, default=str)
    except Exception as error:  # pyFAI raises anything
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"the geometry cannot be read: {reason}", field="poni", value=shown, allowed=allowed
        ) from error
    numbers = [read.dist, read.poni1, read.poni2, read.rot1, read.rot2, read.rot3]
    sizes = [getattr(read.detector, name, None) for name in ("pixel1", "pixel2")]
    if None in numbers or None in sizes:
        raise ConfigError(
            "there is no complete geometry in it: distance, PONI, rotations and pixel sizes",
            field="poni",
            value=shown,
            allowed=allowed,
        )
    return text


def integrator(text: str, grid: Grid) -> tuple[AzimuthalIntegrator, float]:
    """Return what integrates images on a grid, and the detector pixels that one pixel covers.

    Parameters
    ----------
    text:
        What :func:`poni_text` returned.
    grid:
        The images' place on the detector.

    Raises
    ------
    ConfigError
        When the images do not lie on the detector.
    """
    read = PoniFile(data=json.loads(text))
    detector, area = seen_by(read.detector, grid)
    place = read.dist, read.poni1, read.poni2, read.rot1, read.rot2, read.rot3
    made = AzimuthalIntegrator(*place, detector=detector, wavelength=read.wavelength)
    made.auto_gc = False  # or it collects the garbage of the whole process at every change
    if read.parallax:
        made.enable_parallax()
    return made, area


def unit_named(name: str, text: str, field: str = "unit", azimuthal: bool = False) -> units.Unit:
    """Return a unit of pyFAI.

    Raises
    ------
    ConfigError
        When there is none of that name, or it needs a wavelength and the geometry has none.
    """
    known = units.AZIMUTHAL_UNITS if azimuthal else units.RADIAL_UNITS
    plain = [key for key, unit in known.items() if not isinstance(unit, units.UnitFiber)]
    if azimuthal:
        plain = [key for key in plain if key.startswith("chi")]
    if name not in plain:
        raise ConfigError("pyFAI has no such unit", field=field, value=name, allowed=plain)
    unit = units.to_unit(name)
    if "λ" in (unit.formula or "") and not json.loads(text).get("wavelength"):
        needless = [key for key in plain if "λ" not in (known[key].formula or "")]
        raise ConfigError(
            "this unit needs a wavelength, and the geometry has none",
            field=field,
            value=name,
            allowed=f"one of {needless}, or a .poni file with a wavelength",
        )
    return unit
