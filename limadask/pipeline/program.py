"""A plan compiled for one worker: what is run for each block."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from limadask.errors import ConfigError
from limadask.frames import Frames
from limadask.parameters import Policy
from limadask.pipeline.accumulation import AccumulateStep
from limadask.pipeline.outcome import Failure, Outcome
from limadask.pipeline.plan import Plan, PlannedNode
from limadask.pipeline.steps import (
    CallStep,
    PixelStep,
    ReductionStep,
    SinkStep,
    Step,
    ViewStep,
)
from limadask.pipeline.tile import Tile, Value
from limadask.task import (
    Accumulating,
    PixelTask,
    Place,
    Reduction,
    Sink,
    Viewer,
    ViewTask,
    Writer,
)

TILE = 2 << 20
"""Bytes of input handled at a time: small enough to stay in the cache from step to step."""
CALL_TILE = 32 << 20
"""The same where labelled arrays are made, which costs up to 1 ms each."""


BATCH = 8 << 20
"""Bytes of encoded frames that a thread holds before a sink writes them."""
Collected = dict[Step, list[tuple[slice, Tile, Any]]]
"""What by-products and sinks have got of a block: part of the block, tile and result."""


class Program:
    """A plan on one worker, with its kernels compiled and its sinks open.

    Several threads may run blocks at the same time.

    Parameters
    ----------
    plan:
        What is to be done.
    policy:
        What happens when a task raises.
    uuid:
        The acquisition.
    rank, ranks:
        Number of this worker among those that process, and how many these are.
    worker:
        Its name.

    Raises
    ------
    ConfigError
        When a sink cannot be opened, naming the node.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        uuid: str = "",
        rank: int = 0,
        ranks: int = 1,
        worker: str = "",
    ) -> None:
        self.plan, self.policy = plan, policy
        self._place = Place("", uuid, rank, ranks, worker)
        self.steps: list[Step] = []
        self.writers: dict[str, Writer] = {}
        try:
            for node in plan.before + plan.nodes:
                self.steps.append(self._compiled(node))
        except BaseException:
            self.close()
            raise
        calls = any(isinstance(step, CallStep) for step in self.steps)
        self._tile = max(1, (CALL_TILE if calls else TILE) // plan.raw.frame_nbytes)
        self._ends = plan.ends()
        self._lost = {step.name: plan.ends(step.name) for step in self.steps}

    def run(self, frames: Frames) -> Outcome:
        """Take one block through all nodes; a task that raises ends only its own branch."""
        outcome = Outcome(frames, self._ends)
        collected: Collected = defaultdict(list)
        for start in range(0, len(frames), self._tile):
            tile = Tile(frames, slice(start, start + self._tile))
            value = Value(frames.pixels[tile.part], tile)
            self._run_tile({self.plan.source: value}, tile.part, outcome, collected)
        self._conclude(collected, outcome)
        return outcome

    def drain(self) -> Iterator[Outcome]:
        """Take what accumulations still hold through the nodes that come after them."""
        for step in self.steps:
            if isinstance(step, AccumulateStep) and (value := step.drain()) is not None:
                outcome = Outcome(value.frames(), self._ends)
                collected: Collected = defaultdict(list)
                self._run_tile({step.name: value}, slice(None), outcome, collected)
                self._conclude(collected, outcome)
                yield outcome

    def close(self) -> dict[str, dict[str, Any]]:
        """Close the sinks; return what each is to hand to ``join``.

        Every sink is closed, also after the failure of another.
        """
        parts, errors = {}, []
        for name, writer in self.writers.items():
            try:
                parts[name] = writer.close()
            except Exception as error:
                error.add_note(f"while closing {name!r}")
                errors.append(error)
        self.writers = {}
        if errors:
            raise ExceptionGroup("sinks could not be closed", errors)
        return parts

    def viewers(self) -> dict[str, Viewer]:
        """Return the sinks that can be looked at, by node."""
        return {n: writer for n, writer in self.writers.items() if isinstance(writer, Viewer)}

    def sinks(self) -> Iterator[tuple[PlannedNode, Sink]]:
        """Return the nodes that end in a sink."""
        for node in self.plan.nodes:
            if isinstance(node.task, Sink):
                yield node, node.task

    def place(self, node: str) -> Place:
        """Return where a sink is opened."""
        return replace(self._place, node=node)

    def _compiled(self, node: PlannedNode) -> Step:
        task = node.task
        if isinstance(task, ViewTask):
            return ViewStep(node, task)
        if isinstance(task, PixelTask):
            return PixelStep(node, task, _may_be_kept(node, self.plan))
        if isinstance(task, Reduction):
            return ReductionStep(node, task)
        if isinstance(task, Accumulating):
            return AccumulateStep(node, task)
        if isinstance(task, Sink):
            try:
                self.writers[node.name] = task.open(node.inputs[0], self.place(node.name))
            except ConfigError as error:
                raise error.at(node.name) from error
            return SinkStep(node, task, self.writers[node.name])
        return CallStep(node, task)

    def _run_tile(
        self, values: dict[str, Value], part: slice, outcome: Outcome, collected: Collected
    ) -> None:
        for step in self.steps:
            inputs = [values[parent] for parent in step.parents if parent in values]
            if len(inputs) < len(step.parents) or step.name in values:
                continue  # a node before it raised or has nothing to give yet
            result = self._attempt(step, step.run, inputs, part, outcome)
            if isinstance(result, Value):
                values[step.name] = result
            elif result is not None:
                parts = collected[step]
                parts.append((part, inputs[0].tile, result))
                if isinstance(step, SinkStep) and _nbytes(parts) > BATCH:
                    self._write(step, parts, outcome)
                    parts.clear()

    def _conclude(self, collected: Collected, outcome: Outcome) -> None:
        """Join the by-products of all tiles, and let the sinks write."""
        for step, parts in collected.items():
            if isinstance(step, SinkStep):
                self._write(step, parts, outcome)
            else:
                numbers = np.concatenate([tile.numbers for _, tile, _ in parts])
                values = step.products([result for _, _, result in parts])
                outcome.products[step.name] = numbers, values

    def _write(
        self, step: SinkStep, parts: list[tuple[slice, Tile, Any]], outcome: Outcome
    ) -> None:
        if parts:
            results = [result for _, _, result in parts]
            part = slice(parts[0][0].start, parts[-1][0].stop)
            self._attempt(step, step.writer.write, [results], part, outcome)

    def _attempt(
        self,
        step: Step,
        call: Callable[..., Any],
        arguments: list[Any],
        part: slice,
        outcome: Outcome,
    ) -> Any:
        """Call as often as the policy allows; what is raised becomes text at once."""
        began = time.perf_counter()
        try:
            return call(*arguments)
        except Exception as error:
            failure: Exception | None = error
        finally:
            outcome.seconds[step.label] += time.perf_counter() - began
        on_error = step.node.on_error or self.policy.on_error
        for _ in range(self.policy.retries if on_error == "retry" else 0):
            try:
                return call(*arguments)
            except Exception as error:
                failure = error
        numbers = outcome.numbers[part]
        outcome.add_failure(
            Failure.of(step.name, numbers, failure, on_error == "abort"),
            self._lost[step.name],
            part,
        )
        failure = None  # its traceback holds the block
        return None


def _nbytes(parts: list[tuple[slice, Tile, Any]]) -> int:
    return sum(int(getattr(result, "nbytes", 0)) for _, _, result in parts)


def _may_be_kept(node: PlannedNode, plan: Plan) -> bool:
    """Tell whether user code gets the node's memory, or a view of it, and might keep it."""
    safe = PixelTask | Reduction | Accumulating | Sink
    return any(
        _may_be_kept(child, plan)
        if isinstance(child.task, ViewTask)
        else not isinstance(child.task, safe)
        for child in plan.children(node.name)
    )
