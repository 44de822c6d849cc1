"""One block on its way through a program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from limadask.errors import SaveError
from limadask.frames import Frames
from limadask.memory import Tally
from limadask.parameters import Policy
from limadask.pipeline.outcome import Failure, Outcome
from limadask.pipeline.steps import Judged, SinkStep, Step
from limadask.pipeline.tile import Measured, Tile, Value
from limadask.task import Accumulating, Products

BATCH = 8 << 20
"""Bytes of encoded frames that a thread holds before a sink writes them."""
Collected = list[tuple[slice, Tile, Any]]
"""What a step that yields no frames has got of a block: part of the block, tile and result."""
Yielded = dict[str, Value | Measured]
"""What nodes have yielded of some frames, by node."""


class Passage:
    """Takes a block through steps, and keeps what comes of it.

    A task that raises ends only its own branch, for the frames it raised for.

    Parameters
    ----------
    frames:
        The block.
    ends:
        Names of the ends of the pipeline's branches.
    lost:
        Ends that are lost when a step raises, by its name.
    policy:
        How often a step may be tried again.
    chunks:
        Counts what sinks have encoded and not written yet.
    """

    def __init__(
        self,
        frames: Frames,
        ends: tuple[str, ...],
        lost: Mapping[str, tuple[str, ...]],
        policy: Policy,
        chunks: Tally,
    ) -> None:
        self.outcome = Outcome(frames, ends)
        self.waiting: list[tuple[str, Value]] = []
        """Values, and the nodes that yielded them, to be taken on by other steps: those that lack
        pixels since then."""
        self._lost, self._policy = lost, policy
        self._collected: dict[str, tuple[Step, Collected]] = {}
        self._chunks = chunks
        self._unwritten: dict[str, tuple[int, int]] = {}
        """Bytes that wait to be written, and those of them that are no views, by sink."""

    def take(self, steps: Sequence[Step], values: Yielded, part: slice) -> None:
        """Take a part of the block through ``steps``, as far as there are values for them."""
        for step in steps:
            inputs = [values[parent] for parent in step.parents if parent in values]
            if len(inputs) < len(step.parents) or step.name in values:
                continue  # a node before it raised or has nothing to give yet
            result = self._attempt(step, step.stage, step.run, inputs, part)
            if isinstance(result, Judged):
                self.outcome.add_veto(step.name, result.vetoed)
                result = result.value
            # a sum may yield several frames, or none; what a sink makes a list of is its own affair
            several = isinstance(step.node.task, Accumulating) and isinstance(result, list)
            for value in result if several else (result,):
                self._keep(step, value, values, inputs[0].tile, part)

    def _keep(self, step: Step, result: Any, values: Yielded, tile: Tile, part: slice) -> None:
        """Put what a step yields where it belongs."""
        if isinstance(result, Value):
            # what comes after a sum is not among the steps for frames that lack pixels
            is_sum = step.is_lacking and isinstance(step.node.task, Accumulating)
            if is_sum or result.missing is not None:
                self.waiting.append((step.name, result))
            else:
                values[step.name] = result
        elif result is not None:
            _, parts = self._collected.setdefault(step.name, (step, []))
            parts.append((part, tile, result))
            if isinstance(step.node.output, Products):
                values[step.name] = Measured(partial(step.products, [result]), tile)
            if isinstance(step, SinkStep):
                self._count(step, result)

    def _count(self, step: SinkStep, result: Any) -> None:
        """Count what waits to be written; let it be written when it is much."""
        nbytes = int(getattr(result, "nbytes", 0))
        own = 0 if getattr(result, "is_view", False) else nbytes  # others count the block
        self._chunks.add(own)
        waiting, held = self._unwritten.get(step.name, (0, 0))
        self._unwritten[step.name] = waiting + nbytes, held + own
        if waiting + nbytes > BATCH:
            self._write(step)

    def __del__(self) -> None:  # a block that nobody finishes, such as a walk of a lost run
        self._chunks.remove(sum(own for _, own in self._unwritten.values()))

    def finish(self) -> Outcome:
        """Join the by-products of all parts and let the sinks write; return what came of it all."""
        for step, parts in self._collected.values():
            if isinstance(step, SinkStep):
                self._write(step)
            else:
                numbers = np.concatenate([tile.numbers for _, tile, _ in parts])
                values = step.products([result for _, _, result in parts])
                self.outcome.products[step.name] = numbers, values
        return self.outcome

    def _write(self, step: SinkStep) -> None:
        _, parts = self._collected[step.name]
        if parts:
            part = slice(parts[0][0].start, parts[-1][0].stop)
            results = [result for _, _, result in parts]
            note = self._attempt(step, step.writes, step.writer.write, [results], part)
            if note is not None:
                self.outcome.notes.setdefault(step.name, []).append(note)
            parts.clear()
            self._chunks.remove(self._unwritten.pop(step.name, (0, 0))[1])

    def _attempt(
        self, step: Step, stage: str, call: Callable[..., Any], arguments: list[Any], part: slice
    ) -> Any:
        """Call as often as the policy allows; what is raised becomes text at once."""
        began = time.perf_counter()
        try:
            return call(*arguments)
        except Exception as error:
            failure: Exception | None = error
            unsaved = _unsaved(error)
        finally:
            self.outcome.timing.add(stage, began)
        on_error = step.node.on_error or self._policy.on_error
        may_retry = on_error == "retry" and not step.has_state
        for _ in range(self._policy.retries if may_retry else 0):
            began = time.perf_counter()
            try:
                return call(*arguments)
            except Exception as error:
                failure, again = error, _unsaved(error)
                unsaved = (
                    again if unsaved is None else unsaved & (unsaved if again is None else again)
                )
            finally:
                self.outcome.timing.add(stage, began)
        for lost in self._lost_parts(step, unsaved, part):
            told = Failure.of(step.name, self.outcome.numbers[lost], failure, on_error == "abort")
            self.outcome.add_failure(told, self._lost[step.name], lost)
        failure = None  # its traceback holds the block
        return None

    def _lost_parts(self, step: Step, unsaved: set[int] | None, part: slice) -> list[slice]:
        """Return the parts of ``part`` whose frames are lost: all, where no others are known."""
        numbers = self.outcome.numbers[part]
        first, spec = part.start or 0, step.node.inputs[0]
        if unsaved is None:
            return [part]
        if not unsaved:  # one attempt has saved some, another one the rest
            return []
        is_lost = np.isin(numbers // spec.nb_merged, list(unsaved))  # a sum is several of them
        edges = np.flatnonzero(np.diff(is_lost.astype(np.int8), prepend=0, append=0)) + first
        pairs = edges.reshape(-1, 2).tolist()
        return [slice(start, stop) for start, stop in pairs] or [part]


def _unsaved(error: Exception) -> set[int] | None:
    """Return the only frames that an error concerns, None where it concerns all."""
    return set(error.numbers) if isinstance(error, SaveError) else None
