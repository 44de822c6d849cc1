"""Who does what of the asked ROI, binning, flip and rotation: the detector or the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from limadask.detector.contract import Capabilities, DetectorInfo
from limadask.errors import ConfigError
from limadask.geometry import Axis, Grid, Rect
from limadask.parameters import AcquisitionParameters, Binning, Flip, HardwareParameters

Step = tuple[str, dict[str, Any]]
_AXES: dict[Flip, tuple[Axis, ...]] = {"none": (), "y": ("y",), "x": ("x",), "both": ("y", "x")}


@dataclass(frozen=True, slots=True)
class Share:
    """What falls to the detector, and the grid that ``input`` has whoever does it."""

    hardware: HardwareParameters
    target: Grid


def share(asked: AcquisitionParameters, info: DetectorInfo, can: Capabilities) -> Share:
    """Give the detector as much of ``asked`` as it can do itself.

    Raises
    ------
    ConfigError
        When something asked lies outside the image or outside what the detector can do.
    """
    expo_time = can.default_expo_time if asked.expo_time is None else asked.expo_time
    _check(asked, can, expo_time)
    region = _region(asked, info.grid)
    window = _round_outward(region, info.shape, can.roi_step)
    bins = asked.binning
    aligned = (region.y - window.y) % bins.y == 0 and (region.x - window.x) % bins.x == 0
    hardware_bins = aligned and {bins.y, bins.x} <= set(can.binning)
    dtype = info.dtype
    if hardware_bins and (bins.y, bins.x) != (1, 1):
        dtype = binned_dtype(np.dtype(dtype), bins.y * bins.x).name
    full = (window.height, window.width) == info.shape
    parts = {**dict(asked), "expo_time": expo_time, "roi": None if full else window, "rotation": 0}
    parts["binning"] = bins if hardware_bins else Binning()
    parts["flip"] = asked.flip if can.flip else "none"
    effective = parts["binning"]
    shape = window.height // effective.y, window.width // effective.x
    hardware = HardwareParameters(**parts, dtype=dtype, bands=info.bands, shape=shape)
    return Share(hardware, _transformed(_cut(info.grid, region), asked))


def hardware_grid(info: DetectorInfo, hardware: HardwareParameters) -> Grid:
    """Return the grid of the images that the detector delivers."""
    grid = _transformed(_cut(info.grid, hardware.roi or _whole(info.grid)), hardware)
    if grid.shape != hardware.shape:
        raise ConfigError(
            f"the detector says {hardware.shape}, its ROI and binning give {grid.shape}",
            node="detector",
            field="shape",
            value=hardware.shape,
            allowed=grid.shape,
        )
    return grid


def software_steps(asked: AcquisitionParameters, info: DetectorInfo, given: Grid) -> list[Step]:
    """Return the tasks that turn images on the grid ``given`` into what was asked.

    They are crop, bin, flip and rotate, in this order, as far as anything is left to do.
    """
    region = _region(asked, info.grid)
    target = _transformed(_cut(info.grid, region), asked)
    window = given.from_detector(region)
    inside = isinstance(window, Rect) and window.y >= 0 and window.x >= 0
    if not inside or not isinstance(window, Rect):
        raise _uncovered(region, given)
    steps: list[Step] = []
    grid = given
    if window != Rect(0, 0, *given.shape, name=window.name):
        if window.y + window.height > given.shape[0] or window.x + window.width > given.shape[1]:
            raise _uncovered(region, given)
        corner = {"y": window.y, "x": window.x, "height": window.height, "width": window.width}
        steps.append(("crop", corner))
        grid = grid.crop(**corner)
    bins = {
        axis: size // bound
        for axis, size, bound in zip("yx", grid.shape, _unturned(target, asked), strict=True)
    }
    if bins != {"y": 1, "x": 1}:
        steps.append(("bin", {**bins, "mode": "sum"}))
        grid = grid.bin(**bins)
    for axis in ("y", "x"):
        if _mirrored(grid, axis) != (axis in _AXES[asked.flip]):
            steps.append(("flip", {"axis": axis}))
            grid = grid.flip(axis)
    if turns := asked.rotation // 90:
        steps.append(("rotate", {"turns": turns}))
        grid = grid.rotate(turns)
    if grid != target:
        raise _uncovered(region, given)
    return steps


def binned_dtype(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return the smallest type of the same kind that holds the sum of ``count`` pixels."""
    if dtype.kind == "f":
        return dtype
    low, high = np.iinfo(dtype).min * count, np.iinfo(dtype).max * count
    for size in (1, 2, 4, 8):
        wider = np.iinfo(f"{dtype.kind}{size}")
        if size >= dtype.itemsize and wider.min <= low and high <= wider.max:
            return wider.dtype
    return np.dtype(f"{dtype.kind}8")


def _check(asked: AcquisitionParameters, can: Capabilities, expo_time: float) -> None:
    def refuse(field: str, value: Any, allowed: Any, message: str) -> None:
        raise ConfigError(message, node="acquisition", field=field, value=value, allowed=allowed)

    if asked.trigger_mode not in can.trigger_modes:
        message = "the detector does not support this trigger mode"
        refuse("trigger_mode", asked.trigger_mode, list(can.trigger_modes), message)
    for field, value, (low, high) in (
        ("expo_time", expo_time, can.expo_time_range),
        ("latency_time", asked.latency_time, can.latency_time_range),
    ):
        if not low <= value <= high:
            refuse(field, value, f"{low} to {high} s", "the detector cannot do this time")
    if can.max_nb_frames is not None and asked.nb_frames > can.max_nb_frames:
        message = "the detector cannot take as many frames in one acquisition"
        refuse("nb_frames", asked.nb_frames, f"at most {can.max_nb_frames}", message)


def _region(asked: AcquisitionParameters, grid: Grid) -> Rect:
    """Return the asked ROI in detector pixels without its incomplete bins."""
    rows, columns = grid.shape
    roi, bins = asked.roi or _whole(grid), asked.binning
    inside = roi.y >= 0 and roi.x >= 0 and roi.y + roi.height <= rows
    if not inside or roi.x + roi.width > columns:
        raise ConfigError(
            "the ROI leaves the detector's image",
            node="acquisition",
            field="roi",
            value=roi,
            allowed=f"within {rows} rows and {columns} columns",
        )
    height, width = roi.height // bins.y * bins.y, roi.width // bins.x * bins.x
    if not height or not width:
        raise ConfigError(
            "a bin is larger than the ROI",
            node="acquisition",
            field="binning",
            value=bins,
            allowed=f"y ≤ {roi.height}, x ≤ {roi.width}",
        )
    return Rect(roi.y, roi.x, height, width)


def _whole(grid: Grid) -> Rect:
    return Rect(0, 0, *grid.shape)


def _cut(grid: Grid, rect: Rect) -> Grid:
    return grid.crop(rect.y, rect.x, rect.height, rect.width)


def _transformed(grid: Grid, parameters: AcquisitionParameters) -> Grid:
    grid = grid.bin(parameters.binning.y, parameters.binning.x)
    for axis in _AXES[parameters.flip]:
        grid = grid.flip(axis)
    return grid.rotate(parameters.rotation // 90)


def _unturned(target: Grid, asked: AcquisitionParameters) -> tuple[int, int]:
    rows, columns = target.shape
    return (rows, columns) if asked.rotation % 180 == 0 else (columns, rows)


def _mirrored(grid: Grid, axis: str) -> bool:
    diagonal = {"y": grid.affine.matrix[0][0], "x": grid.affine.matrix[1][1]}
    return diagonal[axis] < 0


def _round_outward(region: Rect, shape: tuple[int, int], step: int) -> Rect:
    if step == 0:
        return Rect(0, 0, *shape)
    edges = []
    for start, size, bound in zip(
        (region.y, region.x), (region.height, region.width), shape, strict=True
    ):
        first = start // step * step
        edges.append((first, min(-(-(start + size) // step) * step, bound) - first))
    (y, height), (x, width) = edges
    return Rect(y, x, height, width)


def _uncovered(region: Rect, given: Grid) -> ConfigError:
    corner, end = given(-0.5, -0.5), given(given.shape[0] - 0.5, given.shape[1] - 0.5)
    return ConfigError(
        f"the detector's images, from {corner} to {end}, cannot give what was asked: {region}",
        node="detector",
        field="roi",
        value=region,
        allowed="a region within the detector's images",
    )
