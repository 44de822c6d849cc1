"""The picture of a waterfall."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import xarray as xr

from limadask.monitoring.waterfall import bars
from limadask.pipeline.timing import REST, WAITING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 40
"""Blocks in a picture, unless more are asked for."""
GREYS = dict(zip(WAITING, ("#d9d9d9", "#a6bddb", "#969696"), strict=True))
"""Colours of the stages before the nodes."""
COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#1f78b4")
"""Colours of nodes, in turn."""


def colours(stages: list[str]) -> dict[str, str]:
    """Return the colour of each stage, in the order in which they are drawn."""
    nodes = [stage for stage in stages if stage not in GREYS]
    turns = {stage: COLOURS[number % len(COLOURS)] for number, stage in enumerate(nodes)}
    return {**GREYS, **turns, REST: "#fee8c8"}


def plot_waterfall(times: xr.Dataset, blocks: int = SHOWN, axes: Axes | None = None) -> Axes:
    """Draw where blocks spent their time: a row each, from their last frame to their end.

    Parameters
    ----------
    times:
        ``acquisition.waterfall``, or some blocks of it.
    blocks:
        How many are drawn at most: the last ones.
    axes:
        Where to draw; by default a new figure.
    """
    from matplotlib import pyplot as plt

    shown = times.isel(block=slice(-blocks, None))
    if axes is None:
        height = 1.6 + 0.16 * shown.sizes["block"]
        axes = plt.subplots(figsize=(9, height), layout="constrained")[1]
    colour = colours([str(one) for one in shown["stage"].values])
    drawn = list(bars(shown))
    for stage in colour:
        if some := [bar for bar in drawn if bar.stage == stage]:
            rows, _, begins, durations = zip(*some, strict=True)
            axes.barh(rows, durations, left=begins, height=0.8, color=colour[stage], label=stage)
    if drawn:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    names = [f"{first}–{last} on {worker}" for first, last, worker in labels(shown)]
    axes.set_yticks(range(len(names)), labels=names, fontsize="x-small")
    axes.invert_yaxis()
    axes.set_xlabel("time since the start of the run (s)")
    axes.set_ylabel("frames of the block, worker")
    return axes


def labels(times: xr.Dataset) -> Iterator[tuple[int, int, str]]:
    """Yield first and last frame of each block, and the worker that processed it."""
    columns = (times[name].values.tolist() for name in ("first", "last", "worker"))
    yield from zip(*columns, strict=True)
