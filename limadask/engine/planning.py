"""What follows from a request before any frame: for a run, and for a mere check."""

from __future__ import annotations

import time
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.detector import (
    DetectorInfo,
    Share,
    gaps_of,
    hardware_grid,
    part_of,
    share,
    software_steps,
)
from limadask.engine.messages import Prepared, Ready, Request
from limadask.engine.overruns import check_overrun
from limadask.engine.sizing import LATENCY, size_blocks
from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Rect
from limadask.naming import Names, names_of
from limadask.parameters import Binning, HardwareParameters, SoftwareParameters
from limadask.pipeline import INPUT, Partition, Plan, counted, named, partition, plan
from limadask.pipeline.hold import FUTURES, Hold
from limadask.task import Sink
from limadask.version import versions


def share_of(request: Request) -> tuple[DetectorInfo, Share]:
    """Return what the detector is, and what falls to it of what was asked."""
    try:
        info, can = request.detector.info(), request.detector.capabilities()
        if request.topology.dispatch == "partial":  # full frames exist only after `assemble`
            can = can.replace(roi_step=0, binning=(1,), flip=False)
        shared = share(request.asked, info, can)
    except ConfigError as error:
        raise error.at("detector") from error
    dispatch = request.topology.dispatch
    if request.topology.receivers > 1 and dispatch not in can.dispatch:
        raise ConfigError(
            f"{info.model} cannot deal its frames to several receivers in this way",
            node="topology",
            field="dispatch",
            value=dispatch,
            allowed=can.dispatch if can.dispatch != ("single",) else "single, with one receiver",
        )
    return info, shared


def prepare(
    request: Request,
    info: DetectorInfo,
    hardware: HardwareParameters,
    pool_nbytes: tuple[int, int | None],
) -> Prepared:
    """Return what follows from what the detector took: its frames, and the blocks.

    Parameters
    ----------
    request, info:
        What was asked, and of what.
    hardware:
        What the detector took, or would.
    pool_nbytes:
        Bytes of the receiver's pool where the user does not say, and at most.

    Raises
    ------
    ConfigError
        When something asked for cannot be done.
    """
    raw = Spec(
        hardware_grid(info, hardware),
        np.dtype(hardware.dtype),
        hardware.bands,
        hardware.nb_frames or None,
        columns=tuple((one.name, one.units) for one in info.columns),
        pattern=info.pattern or "" if hardware.binning == Binning() else "",  # bins mix colours
    )
    found = _plan(request, info, raw)
    nb_merged = found.nb_merged
    _check_order(request, found)
    can = request.detector.capabilities()
    check_overrun(request, can.pauses or hardware.trigger_mode == "software", found)
    if nb_merged > 1 and request.topology.receivers > 1 and request.deal().dispatch != "partial":
        raise ConfigError(
            "frames that are added up must come to one receiver",
            node="topology",
            field="receivers",
            value=request.topology.receivers,
            allowed="1 where the pipeline accumulates",
        )
    default, most = pool_nbytes
    bound = int(request.buffers.nbytes or default)
    if most is not None and bound > most:
        raise ConfigError(
            "the pool, those of other acquisitions and the process itself do not fit under 60 % of "
            "the worker's memory limit, where Dask begins to spill: ask for less, wait for the "
            "others, or give the worker a higher limit, or 0",
            node="buffers",
            field="nbytes",
            value=bound,
            allowed=f"at most {most}",
        )
    deal = request.deal()
    flags = can.prepares_ahead, can.pauses
    if deal.dispatch == "partial":
        return _partial(request, info, hardware, raw.replace(masked=gaps_of(info)), bound, flags)
    turns = deal.step if deal.is_known else deal.count
    own = raw.replace(nb_frames=raw.nb_frames and ceil(raw.nb_frames / turns))
    count, slots = size_blocks(
        own, hardware.period * turns, hardware, request.buffers, bound, nb_merged
    )
    return Prepared(info, hardware, raw, count, slots, _patience(hardware, count * turns), *flags)


def _check_order(request: Request, found: Plan) -> None:
    """Refuse to scatter frames that some task needs all of, in order."""
    topology, is_partial = request.topology, request.deal().dispatch == "partial"
    counts = {"workers": topology.workers, "receivers": 1 if is_partial else topology.receivers}
    for name in found.in_order:
        if topology.roles == "separate":
            raise ConfigError(
                f"{name!r} needs all frames in order, where they are received",
                node="topology", field="roles", value="separate", allowed=["shared"],
            )  # fmt: skip
        if not request.fuse:
            raise ConfigError(
                f"{name!r} needs all frames in order, so all nodes of a block go together",
                node=name, field="fuse", value=False, allowed=[True],
            )  # fmt: skip
        for field, count in counts.items():
            if count > 1:
                raise ConfigError(
                    f"{name!r} needs all frames in order, on one worker",
                    node="topology",
                    field=field,
                    value=count,
                    allowed=f"1 where the pipeline has {found[name].task.task_name()}",
                )


def _partial(
    request: Request,
    info: DetectorInfo,
    hardware: HardwareParameters,
    raw: Spec,
    bound: int,
    flags: tuple[bool, bool],
) -> Prepared:
    """Return what follows where each receiver has a part of every frame."""
    regions = [part_of(info, request.deal(one)) for one in range(request.topology.receivers)]
    grids = [raw.grid.crop(one.y, one.x, one.height, one.width) for one in regions]
    parts = tuple(raw.replace(grid=grid, masked=None) for grid in grids)
    largest = max(parts, key=lambda part: part.frame_nbytes)
    if request.is_apart:
        masks = [_cut(raw, region) for region in regions]
        parts = tuple(raw.replace(grid=one, masked=m) for one, m in zip(grids, masks, strict=True))
        count, slots = size_blocks(largest, hardware.period, hardware, request.buffers, bound)
        patience = _patience(hardware, count)
        return Prepared(info, hardware, raw, count, slots, patience, *flags, parts, is_apart=True)
    scaled = bound * raw.frame_nbytes // largest.frame_nbytes  # sized by what is made of them
    count, slots = size_blocks(raw, hardware.period, hardware, request.buffers, scaled)
    return Prepared(info, hardware, raw, count, slots, float("inf"), *flags, parts)


def _cut(raw: Spec, region: Rect) -> NDArray[np.bool_] | None:
    """Return which pixels of a part no module has, None where there are none."""
    if raw.masked is None:
        return None
    masked = raw.masked[region.slices]
    return masked if masked.any() else None


def _patience(hardware: HardwareParameters, count: int) -> float:
    """Return how long a frame waits for the others of its block, ``count`` frames further on."""
    internal = hardware.trigger_mode == "internal"
    return max(LATENCY, 2 * count * hardware.period) if internal else LATENCY


def planned(request: Request, prepared: Prepared) -> Plan:
    """Plan the pipeline for what the detector took."""
    return _plan(request, prepared.info, prepared.raw)


def partitioned(request: Request, prepared: Prepared) -> Partition:
    """Plan the pipeline for each part of the frames."""
    steps = software_steps(request.asked, prepared.info, prepared.raw.grid)
    return partition(request.pipeline, prepared.raw, prepared.parts, steps, request.keep)


def checked(request: Request, prepared: Prepared) -> Plan:
    """Plan the pipeline, and look at the files and folders of all nodes before any is opened."""
    found = planned(request, prepared)
    _check_nodes(found)
    if prepared.is_apart:
        partitioned(request, prepared)
    return found


def names(request: Request, seconds: float) -> dict[str, Any]:
    """Return the fields that names of files may have, for a run prepared at that time."""
    return counted(request.pipeline, names_of(request.uuid, seconds, request.metadata))


def with_names(request: Request, names: Names) -> Request:
    """Return the same request with all fields in the names of files filled in."""
    return replace(request, pipeline=named(request.pipeline, names))


def _check_nodes(planned: Plan) -> None:
    for node in planned.nodes:
        try:
            node.task.check()
        except ConfigError as error:
            raise error.at(node.name) from error


def ready(
    request: Request, prepared: Prepared, planned: Plan, settings: dict[str, Any] | None = None
) -> Ready:
    """Return what the user is told when all is prepared."""
    slot = prepared.nb_frames_per_block * prepared.raw.frame_nbytes
    software = SoftwareParameters(
        before_input=tuple(node.effective() for node in planned.before),
        nodes=tuple(node.effective() for node in planned.nodes),
        input_grid=planned.input.grid,
        input_dtype=planned.input.dtype.name,
        nb_frames_per_block=prepared.nb_frames_per_block,
        nb_slots=prepared.nb_slots,
        pool_nbytes=slot * prepared.nb_slots,
        settings=settings or {},
        versions=versions(),
    )
    names = [INPUT, *(name for node in planned.nodes for name in node.members)]
    outputs = {name: planned.output(name) for name in names if planned.has_output(name)}
    slim = {
        name: out.replace(masked=None) if isinstance(out, Spec) else out
        for name, out in outputs.items()
    }
    files = {
        node.name: path
        for node in planned.nodes
        if isinstance(node.task, Sink) and (path := node.task.path())
    }
    watching = [
        node.name
        for node in planned.nodes
        if isinstance(node.task, Sink) and not isinstance(node.task, Hold)
    ]
    observed = tuple(name for name in watching if name not in files)
    held = tuple(
        node.name.removesuffix(FUTURES) for node in planned.nodes if isinstance(node.task, Hold)
    )
    return Ready(request.asked, prepared.hardware, software, slim, files, observed, held)


def check(request: Request, pool_nbytes: int) -> Ready:
    """Find every mistake that can be found without touching the detector.

    Raises
    ------
    ConfigError
        Naming node, field, value and what is allowed.
    """
    request = with_names(request, names(request, time.time()))
    info, shared = share_of(request)
    prepared = prepare(request, info, shared.hardware, (pool_nbytes, None))
    return ready(request, prepared, checked(request, prepared))


def _plan(request: Request, info: DetectorInfo, raw: Spec) -> Plan:
    steps = software_steps(request.asked, info, raw.grid)
    return plan(request.pipeline, raw, steps, request.keep)
