"""Blocks to a GPU and back, where there is one: from pages that are pinned, and from others."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.memory import FittedPool, PageAllocator, PinnedAllocator
from limadask.task.array_function import ArrayCall
from limadask.task.libraries import library
from limadask_benchmarks.memory.slots import NBYTES
from limadask_benchmarks.results import Figure, paired

Say = Callable[[str], object]
REPEATS = 9
FRAMES = NBYTES >> 21, 1, 1024, 1024
"""The frames of a block, of two bytes each pixel."""


def graphics(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure GB/s from pinned memory, against memory that is not; nothing without a GPU.

    Alone, and by a task: two functions that differ in how much is to come back.
    """
    try:
        library("cupy", "gpu")
    except ConfigError as error:
        say(f"gpu: not measured, there is none here ({error})")
        return []
    cupy: Any = importlib.import_module("cupy")
    pinned, plain = PinnedAllocator().allocate(NBYTES), PageAllocator().allocate(NBYTES)
    device = cupy.empty(NBYTES, cupy.uint8)
    ways: dict[str, Callable[[NDArray[np.uint8]], object]] = {
        "gpu_to_pinned": device.set,
        "gpu_from_pinned": lambda memory: device.get(out=memory),
    }
    for arrays in ("cupy", "torch"):
        ways |= _tasks(say, arrays)
    figures = []
    for what, work in ways.items():
        measure = partial(_rate, cupy.cuda.runtime.deviceSynchronize, work)
        pairs = [(measure(pinned), measure(plain)) for _ in range(repeats + 1)]
        figures.append(paired(what, pairs[1:]))
        say(f"{what}: {figures[-1].value:.1f} GB/s, not pinned {figures[-1].limit:.1f}")
    return figures


def _tasks(say: Say, arrays: str) -> dict[str, Callable[[NDArray[np.uint8]], object]]:
    """Return what tasks do with a block: a sum that comes back, and frames that do."""
    try:
        found = library(arrays, "gpu")
    except ConfigError as error:
        say(f"gpu: {arrays} is not measured ({error})")
        return {}
    memory = FittedPool(found.allocator or PageAllocator()).array
    calls = {
        f"gpu_{arrays}_sum": ArrayCall(found, _sum, {}, memory),
        f"gpu_{arrays}_frames": ArrayCall(found, _doubled, {}, memory),
    }
    return {what: partial(_called, call) for what, call in calls.items()}


def _called(call: ArrayCall, memory: NDArray[np.uint8]) -> object:
    return call(memory.view(np.int16).reshape(FRAMES))


def _sum(frames: Any) -> Any:
    return {"sum": frames.sum((1, 2, 3))}


def _doubled(frames: Any) -> Any:
    return frames * 2


def _rate(
    synchronize: Callable[[], object],
    work: Callable[[NDArray[np.uint8]], object],
    memory: NDArray[np.uint8],
) -> float:
    synchronize()
    began = time.perf_counter()
    work(memory)
    synchronize()
    return NBYTES / (time.perf_counter() - began) / 1e9
