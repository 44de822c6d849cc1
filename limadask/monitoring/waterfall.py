"""Where the last blocks of a run spent their time, block by block."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from limadask.monitoring.timeline import HEAD
from limadask.pipeline.timing import REST, WAITING


class Bar(NamedTuple):
    """A stage of a block in a drawing: the block's row, seconds since the run's start."""

    row: int
    stage: str
    begin: float
    duration: float


def waterfall(dumped: Mapping[str, Any]) -> xr.Dataset:
    """Return when the last blocks were at each stage, dims ``block`` and ``stage``.

    ``begin`` and ``duration`` are in seconds, ``begin`` since the run's start, NaN where a block
    never came or nobody knows. Coordinates of a block are its ``first`` and ``last`` frame, the
    names of its ``receiver`` and its ``worker``, when it was ``born``, which is when its last frame
    was complete, and when it ``ended``. The stages are ``wait``, in the receiver's memory,
    ``transit``, on its way to the worker that processes it, ``queue``, there without a thread; then
    each node, where a sink has two, ``: encode`` and ``: write``. Times of two computers are as
    good as their clocks.

    Parameters
    ----------
    dumped:
        What :meth:`limadask.engine.run.Run.waterfall` returns.
    """
    began, kinds = dumped["began"], dumped["stages"]
    workers = np.array(dumped["workers"] or [""], str)
    stages = list(dict.fromkeys([*WAITING, *(stage for kind in kinds for stage in kind)]))
    column = {stage: number for number, stage in enumerate(stages)}
    columns = [[column[stage] for stage in kind] for kind in kinds]
    count, skipped = len(dumped["blocks"]), len(WAITING)
    heads = np.zeros((count, 4), np.int64)
    whole = np.full((count, 2), np.nan)
    times = np.full((count, len(stages), 2), np.nan)
    for row, block in enumerate(dumped["blocks"]):
        kind, *heads[row] = HEAD.unpack_from(block)
        start, *rest = struct.unpack_from(
            f"<d{(len(block) - HEAD.size) // 4 - 2}f", block, HEAD.size
        )
        born, handed, taken, ended, *spent = np.array(rest)
        whole[row] = start + born, start + ended
        times[row, :skipped] = (born, handed - born), (handed, taken - handed), (taken, -taken)
        times[row, columns[kind]] = np.reshape(spent, (-1, 2))
        times[row, :, 0] += start
    seconds = {"units": "s"}
    made = xr.Dataset(
        {
            "begin": (("block", "stage"), times[:, :, 0] - began, seconds),
            "duration": (("block", "stage"), times[:, :, 1], seconds),
        },
        {
            "stage": stages,
            "first": ("block", heads[:, 2]),
            "last": ("block", heads[:, 3]),
            "receiver": ("block", workers[heads[:, 0]]),
            "worker": ("block", workers[heads[:, 1]]),
            "born": ("block", whole[:, 0] - began, seconds),
            "ended": ("block", whole[:, 1] - began, seconds),
        },
        {"uuid": dumped["uuid"]},
    )
    return made.sortby("first")


def bars(times: xr.Dataset) -> Iterator[Bar]:
    """Yield what is to be drawn of each block: when it waited, then how long each node took.

    The tiles of a block take turns at its nodes: what they took in all is drawn one after the
    other, and what is left after that.
    """
    names = [str(one) for one in times["stage"].values]
    begins, durations = times["begin"].values, times["duration"].values
    ends = times["ended"].values
    for row in range(times.sizes["block"]):
        reached = np.nan
        for stage, begin, lasted in zip(names, begins[row], durations[row], strict=True):
            if not np.isfinite(lasted):
                continue
            if stage not in WAITING:
                begin = reached if np.isfinite(reached) else begin
            yield Bar(row, stage, float(begin), max(0.0, float(lasted)))
            reached = begin + lasted
        if np.isfinite(reached) and ends[row] > reached:
            yield Bar(row, REST, float(reached), float(ends[row] - reached))
