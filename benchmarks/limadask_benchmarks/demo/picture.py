"""The demo's picture: the mean image with the regions, and what was measured in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter

from limadask.frames import fill_value
from limadask.geometry import Arc, Rect, Roi
from limadask_benchmarks.demo.inputs import ROIS

FRAMES = 60
"""Frames that the mean image is taken of."""


def draw(path: Path, master: Path, statistics: xr.Dataset) -> None:
    """Draw the picture.

    Parameters
    ----------
    path:
        The PNG file.
    master:
        The raw frames, in detector coordinates.
    statistics:
        By-products of the regions, dims ``(frame, band, roi)``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    rois = regions()
    draw_image(left, mean_image(master), rois)
    draw_curves(right, statistics, [roi.name or "" for roi in rois])
    figure.savefig(path, dpi=110)


def regions() -> list[Roi]:
    """Return the demo's regions, in detector coordinates."""
    adapter: TypeAdapter[list[Rect | Arc]] = TypeAdapter(list[Rect | Arc])
    return list(adapter.validate_python(yaml.safe_load(ROIS)))


def mean_image(master: Path) -> NDArray[Any]:
    """Return the mean of some frames, first band, NaN in the gaps."""
    with h5py.File(master) as file:
        data = file["entry/data/data"]
        step = max(1, len(data) // FRAMES)
        status = file["entry/data/frame_status"][::step]
        frames = data[::step][status == 1].astype(float)
        frames[frames == float(fill_value(data.dtype))] = np.nan
    if not len(frames):
        return np.full(data.shape[1:], np.nan)
    return np.asarray(frames.mean(axis=0))


def draw_image(axes: Any, image: NDArray[Any], rois: list[Roi]) -> None:
    """Draw the image with the outlines of the regions."""
    top = np.nanpercentile(image, 99.5) if np.isfinite(image).any() else 1
    shown = axes.imshow(image, vmin=0, vmax=top, cmap="viridis", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, label="counts per pixel and frame")
    for number, roi in enumerate(rois):
        outline = roi.outline()
        y, x = np.vstack([outline, outline[:1]]).T
        axes.plot(x, y, color=f"C{number + 1}", linewidth=2, label=roi.name)
    axes.set(
        title="mean of raw frames, regions in detector coordinates",
        xlabel="x (detector pixels)",
        ylabel="y (detector pixels)",
        xlim=(0, image.shape[1]),
        ylim=(image.shape[0], 0),
    )
    axes.legend(loc="upper right")


def draw_curves(axes: Any, statistics: xr.Dataset, names: list[str]) -> None:
    """Draw the mean of each region over the frames, for both thresholds."""
    width = max(1, statistics.sizes["frame"] // 50)
    smooth = statistics["mean"].rolling(frame=width, center=True).mean()
    for number, name in enumerate(names):
        for band, style in zip(statistics.band.values.tolist(), ("-", "--", ":"), strict=False):
            curve = smooth.sel(roi=name, band=band)
            axes.plot(curve.frame, curve, style, color=f"C{number + 1}", label=f"{name}, {band}")
    axes.set(
        title=f"mean of the corrected pixels in each region (over {width} frames)",
        xlabel="frame",
        ylabel="counts per pixel",
        ylim=(0, None),
    )
    axes.legend(fontsize="small", ncols=2)
    axes.grid(alpha=0.3)
