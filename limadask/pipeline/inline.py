"""The same pipeline without Dask: for unit tests, and for saved data in a notebook."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dask
import numpy as np
import xarray as xr

from limadask.errors import AcquisitionFailed, ConfigError
from limadask.frames import Frames, Spec, Status, concatenated, spec_of, unlabelled
from limadask.ledger import Failed, Ledger
from limadask.naming import names_of
from limadask.parameters import Policy
from limadask.pipeline.hold import Hold, Holder
from limadask.pipeline.naming import counted, named
from limadask.pipeline.outcome import Failure, Outcome
from limadask.pipeline.pipeline import INPUT, Node, Pipeline
from limadask.pipeline.plan import Plan, plan
from limadask.pipeline.program import Program
from limadask.storage.reading import frames_of
from limadask.task import (
    Products,
    RunRecord,
    chosen,
    dataset,
    empty,
    result_of_run,
    stacked,
)

BLOCK = 64 << 20
"""Bytes taken at a time."""


@dataclass(frozen=True)
class Processed:
    """What came of it.

    Parameters
    ----------
    data:
        By node: frames, dims ``(frame, band, y, x)``, or by-products, dims ``(frame, …)`` or, of
        the whole run, ``(…)``.
    files:
        Files by node.
    ledger:
        What became of each frame.
    failures:
        Tasks that raised.
    """

    data: Mapping[str, xr.DataArray | xr.Dataset]
    files: Mapping[str, str]
    ledger: Ledger
    failures: Sequence[Failure] = field(default_factory=tuple)

    def __getitem__(self, node: str) -> xr.DataArray | xr.Dataset:
        return self.data[node]


def process(
    data: xr.DataTree | xr.Dataset | xr.DataArray | np.ndarray[Any, Any],
    pipeline: Pipeline,
    *,
    keep: Sequence[str] | None = None,
    policy: Policy | None = None,
) -> Processed:
    """Run a pipeline on frames that are there, in this process.

    Parameters
    ----------
    data:
        What :func:`limadask.open` returned, a block, or an array ``(y, x)``, ``(frame, y, x)`` or
        ``(frame, band, y, x)``. Lazy data is read block by block.
    pipeline:
        The pipeline.
    keep:
        Nodes whose frames are returned; None returns those at the ends of branches.
    policy:
        What is tolerated; a task that raises is only noted by default.

    Raises
    ------
    ConfigError
        When the pipeline cannot work on such frames.
    AcquisitionFailed
        When a task raises, or too many frames are absent, and the policy says ``abort``. Files
        are closed before.
    """
    uuid, began = uuid4().hex, time.time_ns()
    names = names_of(uuid, began / 1e9, {})
    pipeline = named(pipeline, counted(pipeline, names))
    frames = frames_of(data)
    last = int(frames["frame"][-1]) if frames.sizes["frame"] else -1
    spec = spec_of(frames).replace(nb_frames=last + 1)
    kept = _kept(pipeline, spec, keep)
    nodes = [Node(f"{name}-kept", Hold(max_held=1 << 62), (name,)) for name in kept]
    planned = plan(Pipeline([*pipeline, *nodes]), spec, keep=kept)
    for node in planned.nodes:
        try:
            node.task.check()
        except ConfigError as error:
            raise error.at(node.name) from error
    program = Program(planned, policy or Policy(), uuid, worker="here")
    return _Work(planned, program, spec, began, policy or Policy()).run(frames, kept)


class _Work:
    """Blocks through a program, one after the other."""

    def __init__(
        self, planned: Plan, program: Program, spec: Spec, began: int, policy: Policy
    ) -> None:
        self._policy = policy
        self._planned, self._program, self._spec, self._began = planned, program, spec, began
        self._ledger, self._outcomes = Ledger(), list[Outcome]()

    def run(self, frames: xr.DataArray, kept: Sequence[str]) -> Processed:
        """Take all frames through; close, join and return what came of it."""
        self._count = frames.sizes["frame"]
        step = max(1, BLOCK // self._spec.frame_nbytes)
        holders, excess = self._program.lasting(), ""
        if self._count:
            self._reached = int(frames["frame"][0])
            self._program.begin(self._reached)
        try:
            for start in range(0, frames.sizes["frame"], step):
                with dask.config.set(scheduler="threads"):  # not on a cluster that is about
                    part = frames.isel(frame=slice(start, start + step)).compute()
                self._take(part)
                if excess := self._excess():
                    break
            self._outcomes += self._program.drain()
        finally:
            parts = self._program.close()
        if frames.sizes["frame"]:  # numbers that were left out
            first, last = (int(frames["frame"][at]) for at in (0, -1))
            self._ledger.mark(first, last + 1, Status.ABSENT, "detector")
        files = self._join(parts)
        if reason := excess or self._excess() or "; ".join(self._program.trouble):
            raise AcquisitionFailed(reason)
        found: dict[str, xr.DataArray | xr.Dataset] = {
            name: _frames(holders[f"{name}-kept"]) for name in kept
        }
        failures = [failure for outcome in self._outcomes for failure in outcome.failures]
        return Processed({**found, **self._products()}, files, self._ledger, failures)

    def _take(self, part: xr.DataArray) -> None:
        block = self._block(part)
        causes = map(str, part["cause"].values) if "cause" in part.coords else ()
        told = dict(zip(block.numbers.tolist(), causes, strict=False))
        block.causes = {number: cause for number, cause in told.items() if cause}
        saved = (block.status == Status.PRESENT) | (block.status == Status.PARTIAL)
        if not saved.all():  # frames that were absent when they were saved
            block = block.taking(saved)
            lost = unlabelled(part.isel(frame=~saved))
            self._ledger.mark_frames(
                lost.numbers, lost.status, lambda one: block.causes.get(one, "detector")
            )
        outcome = self._program.run(block)
        for failure in outcome.failures:
            self._ledger.failures.add(failure.node, failure.first, failure.last, failure.text)
        self._ledger.mark_frames(outcome.numbers, outcome.status(), outcome.cause)
        self._ledger.stamp(outcome.numbers, outcome.timestamps)
        self._outcomes.append(outcome)

    def _block(self, part: xr.DataArray) -> Frames:
        """Return bare frames, which also answer for those left out before them."""
        numbers = part["frame"].values
        first, self._reached = self._reached, int(numbers[-1]) + 1
        return unlabelled(part, (first, self._reached))

    def _excess(self) -> str:
        """Return why the policy ends the work, empty where it does not."""
        for failure in self._outcomes[-1].failures if self._outcomes else ():
            if failure.abort:
                return str(Failed(failure.node, failure.first, failure.last, failure.text))
        return self._ledger.excess(self._policy.bound, self._count)

    def _products(self) -> dict[str, xr.Dataset]:
        found = {}
        for node in self._planned.nodes:
            if isinstance(node.output, Products) and node.output.running is not None:
                state = self._program.lasting()[node.name].state()
                found[node.name] = result_of_run(node.output, [state])
            elif isinstance(node.output, Products):
                parts = [o.products[node.name] for o in self._outcomes if node.name in o.products]
                values = stacked([part for _, part in parts]) if parts else empty(node.output)
                numbers = [numbers for numbers, _ in parts] or [np.empty(0, np.int64)]
                joined = np.concatenate(numbers)
                order = np.argsort(joined, kind="stable")  # sums that lack pixels come last
                values = chosen(node.output, values, order)
                found[node.name] = dataset(node.output, joined[order], values)
        return found

    def _join(self, parts: dict[str, dict[str, Any]]) -> dict[str, str]:
        place = self._program.place("")
        record = RunRecord(
            place.uuid,
            "done",
            len(self._ledger),
            self._ledger,
            {"user": {}, "hardware": {}, "software": {}},
            {"model": "saved data", "shape": self._spec.grid.shape},
            {},
            self._began,
            time.time_ns(),
            ("here",),
        )
        files = {}
        for node, sink in self._planned.sinks():
            mine = [parts[node.name]] if node.name in parts else []
            sink.join(node.given, self._program.place(node.name), mine, record)
            if path := sink.path():
                files[node.name] = path
        return files


def _kept(pipeline: Pipeline, spec: Spec, keep: Sequence[str] | None) -> tuple[str, ...]:
    planned = plan(pipeline, spec, keep=keep or ())
    if keep is not None:
        names = [INPUT, *(node.name for node in pipeline)]
        allowed = [
            name
            for name in names
            if planned.has_output(name) and isinstance(planned.output(name), Spec)
        ]
        for name in keep:
            if name not in allowed:
                raise ConfigError(
                    "yields no frames to keep", field="keep", value=name, allowed=allowed
                )
        return tuple(keep)
    parents = {parent for node in pipeline for parent in node.after}
    names = [node.name for node in pipeline if node.name not in parents]
    kept = [name for name in names if isinstance(planned.output(name), Spec)]
    return tuple(kept) if len(pipeline) else (INPUT,)


def _frames(holder: Any) -> xr.DataArray:
    if not isinstance(holder, Holder):
        raise TypeError(f"{holder!r} holds no blocks")
    blocks = holder.take_all()
    if not blocks:
        return holder.blank()
    return concatenated(blocks)
