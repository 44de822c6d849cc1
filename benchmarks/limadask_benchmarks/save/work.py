"""The frames that are saved, and two threads that save them."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limadask.cluster.settings import SWITCH_INTERVAL
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask.task import Sink
from limadask_benchmarks.workload import camera

SHAPE = (1024, 1024)
PER_BLOCK, DISTINCT = 16, 4
"""Frames in a block, and blocks that differ."""
BLOCKS = 12
"""Blocks of a run, after the first, which is not timed: it makes files, and connects."""
THREADS = 2
SPEC = Spec(Grid(SHAPE), np.dtype("uint16"), nb_frames=PER_BLOCK * (BLOCKS + 1))
Job = Callable[[Frames], object]
"""Saves a block."""


def blocks() -> list[Frames]:
    """Return the blocks of a run, and one in front of them."""
    made = []
    for number in range(BLOCKS + 1):
        frames = Frames.of(_pixels(number % DISTINCT), PER_BLOCK * number)
        frames.timestamps[:] = 1_700_000_000_000_000_000 + frames.numbers * 1_000_000
        made.append(frames)
    return made


@cache
def _pixels(number: int) -> NDArray[np.uint16]:
    """Return 16 frames of photons."""
    pixels = np.empty((PER_BLOCK, 1, *SHAPE), np.uint16)
    source = camera(*SHAPE).source()
    for place in range(PER_BLOCK):
        source.fill(PER_BLOCK * number + place, pixels[place])
    return pixels


class Pace(NamedTuple):
    """How fast frames were saved: frames a second, and milliseconds of CPU a frame."""

    rate: float
    cpu: float


def timed(save: Job, close: Callable[[], object]) -> Pace:
    """Save all blocks by two threads, and close."""
    first, *rest = blocks()
    save(first)
    todo: queue.SimpleQueue[Frames | None] = queue.SimpleQueue()
    for block in (*rest, *THREADS * (None,)):
        todo.put(block)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while (block := todo.get()) is not None:
                save(block)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)  # as in every worker
    began, spent = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close()
    seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    if failures:
        raise failures[0]
    sys.setswitchinterval(interval)
    count = sum(map(len, rest))
    return Pace(count / seconds, 1000 * cpu / count)


def saver(sink: Sink) -> Pace:
    """Let a saver save all blocks, as a worker does."""
    pipeline = Pipeline()
    pipeline.add("file", sink)
    program = Program(plan(pipeline, SPEC), Policy(), uuid="bench")

    def save(block: Frames) -> None:
        if failures := program.run(block).failures:
            raise RuntimeError(f"the figures would be worthless: {failures[0].text}")

    return timed(save, program.close)
