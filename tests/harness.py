"""Runs pipelines in this process, and keeps what comes out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np

from limadask.frames import Frames, Spec
from limadask.ledger import Ledger
from limadask.parameters import Policy
from limadask.pipeline import Outcome, Pipeline, Plan, Program, plan
from limadask.task import Place, RunRecord, Sink, Task, Values, stacked

MARK = Policy()


class Collect(Sink):
    """Keeps all frames it gets."""

    def open(self, spec: Spec, place: Place) -> Collector:
        return Collector()


class Collector:
    """What has been collected."""

    def __init__(self) -> None:
        self.parts: list[Frames] = []
        self.writes = 0
        self._lock = threading.Lock()

    def encode(self, frames: Frames) -> Frames:
        return frames.carrying(frames.pixels.copy())

    def write(self, encoded: list[Frames]) -> None:
        with self._lock:
            self.parts += encoded
            self.writes += 1

    def close(self) -> dict[str, Any]:
        return {}

    @property
    def frames(self) -> Frames | None:
        """All frames, by number."""
        if not self.parts:
            return None
        names = ("pixels", "numbers", "timestamps", "status")
        joined = [np.concatenate([getattr(one, name) for one in self.parts]) for name in names]
        order = np.argsort(joined[1], kind="stable")
        pixels, numbers, stamps, status = (column[order] for column in joined)
        span = int(numbers[0]), int(numbers[-1]) + 1
        lacking = {number: mask for one in self.parts for number, mask in one.invalid.items()}
        return Frames(pixels, numbers, stamps, status, span, invalid=lacking)


@dataclass
class Result:
    """What came out of a pipeline."""

    plan: Plan
    outcomes: list[Outcome] = field(default_factory=list)
    collected: dict[str, Frames | None] = field(default_factory=dict)

    @property
    def frames(self) -> Frames:
        """The frames that the node ``out`` got."""
        frames = self.collected["out"]
        assert frames is not None
        return frames

    def products(self, node: str) -> tuple[Any, Values]:
        """Frame numbers and by-products of a node, all blocks together."""
        parts = [one.products[node] for one in self.outcomes if node in one.products]
        numbers = np.concatenate([part[0] for part in parts])
        return numbers, stacked([part[1] for part in parts])

    @property
    def failures(self) -> list[Any]:
        """Everything that was raised."""
        return [failure for one in self.outcomes for failure in one.failures]


def run(
    pipeline: Pipeline,
    blocks: Iterable[Frames],
    spec: Spec,
    policy: Policy = MARK,
    keep: Sequence[str] = (),
) -> Result:
    """Run a pipeline over blocks, drain it, and close it."""
    program = Program(plan(pipeline, spec, keep=keep), policy)
    result = Result(program.plan)
    try:
        result.outcomes = [program.run(block) for block in blocks]
        result.outcomes += list(program.drain())
        for name, writer in program.writers.items():
            if isinstance(writer, Collector):
                result.collected[name] = writer.frames
    finally:
        program.close()
    return result


def chained(*tasks: Task, collect: bool = True) -> Pipeline:
    """A pipeline of tasks one after the other, called ``n0``, ``n1``, …, and ``out``."""
    pipeline, parent = Pipeline(), "input"
    for number, task in enumerate(tasks):
        pipeline.add(f"n{number}", task, after=parent)
        parent = f"n{number}"
    if collect:
        pipeline.add("out", Collect(), after=parent)
    return pipeline


def ran(spec: Spec, frames: Frames, *tasks: Task) -> Result:
    """Run tasks one after the other on one block."""
    return run(chained(*tasks), [frames], spec)


def reduced(spec: Spec, frames: Frames, *tasks: Task) -> Values:
    """Run tasks one after the other, the last of which yields by-products; return these."""
    result = run(chained(*tasks, collect=False), [frames], spec)
    assert not result.failures
    return result.products(f"n{len(tasks) - 1}")[1]


DETECTOR: dict[str, Any] = {
    "model": "test camera",
    "shape": [20, 30],
    "serial": "42",
    "pixel_size": [75e-6, 80e-6],
    "sensor_material": "Si",
    "sensor_thickness": 450e-6,
    "saturation_value": 60000,
    "distance": 0.2,
    "wavelength": 1.0,
    "beam_centre": [10.0, 15.0],
}


def record(ledger: Ledger, nb_frames: int, **changes: Any) -> RunRecord:
    """What is known of a run at its end."""
    hardware = {"expo_time": 0.25, "latency_time": 0.05, "binning": {"y": 1, "x": 1}}
    told = RunRecord(
        uuid=uuid4().hex,
        state="done",
        nb_frames=nb_frames,
        ledger=ledger,
        parameters={"user": {"nb_frames": nb_frames}, "hardware": hardware, "software": {}},
        detector=DETECTOR,
        metadata={"sample": "LaB6", "nested": {"list": [1, 2.5]}, "none": None},
        started=1_700_000_000_000_000_000,
        ended=1_700_000_001_500_000_000,
        workers=("w0", "w1"),
        receivers=("w0",),
    )
    return replace(told, **changes)
