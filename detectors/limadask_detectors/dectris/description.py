"""What a detector is, by its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from limadask.detector import Column, DetectorInfo, GoniometerAxis
from limadask_detectors.dectris.channels import MODES, channels_of, energy_of
from limadask_detectors.dectris.simplon import SimplonError

Stream = Literal["v1", "stream2"]
"""The two formats in which images are streamed."""

AXES = {
    "phi": (-1.0, 0.0, 0.0),
    "chi": (0.0, 0.0, 1.0),
    "kappa": (-1.0, 0.0, 0.0),
    "omega": (-1.0, 0.0, 0.0),
}
"""Axes that turn the sample, the innermost first, and where they point by convention: the SIMPLON
API does not say it."""
KEYS = (
    "description", "detector_number", "x_pixels_in_detector", "y_pixels_in_detector",
    "x_pixel_size", "y_pixel_size", "sensor_material", "sensor_thickness", "detector_distance",
    "beam_center_x", "beam_center_y", "photon_energy", "incident_energy", "wavelength",
    "bit_depth_image", "countrate_correction_count_cutoff", "threshold_energy",
    *MODES.values(), *(f"threshold/{number}/energy" for number in (1, 2, 3, 4)),
    "threshold/difference/lower_threshold",
    *(f"{axis}_{what}" for axis in AXES for what in ("start", "increment")),
)  # fmt: skip
"""The values that say it."""
ENERGY_WAVELENGTH = 12398.419843
"""Energy times wavelength of a photon, eV Å."""
COLUMNS = tuple(Column(name=name, units="s") for name in ("start_time", "stop_time", "real_time"))
"""What both streams tell of each image."""
MATERIALS = {"Silicon": "Si", "Cadmium telluride": "CdTe"}


def describe(config: Mapping[str, Any], stream: Stream) -> DetectorInfo:
    """Say what a detector with these configuration values is.

    Parameters
    ----------
    config:
        Values by their names in the SIMPLON API.
    stream:
        The format of its images.

    Raises
    ------
    SimplonError
        When the size of its images is not among them, or a value is none.
    """
    try:
        return _described(config, stream)
    except (TypeError, ValueError) as error:
        raise SimplonError(
            f"the control unit says of the detector what cannot be: {error}; check its firmware"
        ) from error


def _described(config: Mapping[str, Any], stream: Stream) -> DetectorInfo:
    bands = bands_of(config, stream)
    energies = [energy_of(band, config) for band in bands]
    material = config.get("sensor_material")
    return DetectorInfo(
        model=str(config.get("description") or "DECTRIS detector"),
        shape=shape_of(config),
        dtype=f"uint{config.get('bit_depth_image', 32)}",
        bands=bands,
        serial=str(config.get("detector_number") or ""),
        pixel_size=_pair(config, "y_pixel_size", "x_pixel_size"),
        sensor_material=None if material is None else MATERIALS.get(material, str(material)),
        sensor_thickness=config.get("sensor_thickness"),
        saturation_value=config.get("countrate_correction_count_cutoff"),
        distance=config.get("detector_distance"),
        wavelength=_wavelength(config),
        beam_centre=_pair(config, "beam_center_y", "beam_center_x"),
        thresholds=() if None in energies else tuple(one for one in energies if one is not None),
        goniometer=_goniometer(config),
        columns=COLUMNS,
    )


def bands_of(config: Mapping[str, Any], stream: Stream) -> tuple[str, ...]:
    """Return the channels that a stream delivers: v1 has but the first that is enabled."""
    channels = channels_of(config)
    return channels if stream == "stream2" else channels[:1]


def shape_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and columns of an image."""
    shape = _pair(config, "y_pixels_in_detector", "x_pixels_in_detector")
    if shape is None:
        raise SimplonError(
            "the control unit does not say how large its images are (x_pixels_in_detector, "
            "y_pixels_in_detector); check its firmware, and whether it is a detector's"
        )
    return int(shape[0]), int(shape[1])


def _pair(config: Mapping[str, Any], first: str, second: str) -> tuple[float, float] | None:
    values = config.get(first), config.get(second)
    return None if None in values else (float(values[0] or 0), float(values[1] or 0))


def _wavelength(config: Mapping[str, Any]) -> float | None:
    energy = config.get("photon_energy") or config.get("incident_energy")
    wavelength = ENERGY_WAVELENGTH / energy if energy else config.get("wavelength")
    return None if wavelength is None else float(wavelength)


def _goniometer(config: Mapping[str, Any]) -> tuple[GoniometerAxis, ...]:
    """Return the axes that stand or move somewhere else than at 0; omega, where it is known."""
    found = []
    for axis, vector in AXES.items():
        start, increment = config.get(f"{axis}_start"), config.get(f"{axis}_increment")
        if start is not None and (start or increment or axis == "omega"):
            found.append(
                GoniometerAxis(name=axis, start=start, increment=increment or 0.0, vector=vector)
            )
    return tuple(found)
