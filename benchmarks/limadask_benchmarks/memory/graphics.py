"""Blocks to a GPU and back, where there is one: from pages that are pinned, and from others."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from limadask_benchmarks.memory.slots import NBYTES
from limadask_benchmarks.results import Figure, paired

Say = Callable[[str], object]
REPEATS = 9


def graphics(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure GB/s from pinned memory, against memory that is not; nothing without a GPU."""
    try:
        cupy: Any = importlib.import_module("cupy")
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # no CuPy, no driver, no device: each raises something else
        say(f"gpu: not measured, there is none here ({type(error).__name__}: {error})")
        return []
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(NBYTES), np.uint8, NBYTES)
    plain, device = np.zeros(NBYTES, np.uint8), cupy.empty(NBYTES, cupy.uint8)
    copies: dict[str, Callable[[Any], object]] = {
        "to": device.set,
        "from": lambda memory: device.get(out=memory),
    }
    figures = []
    for way, copy in copies.items():
        pairs = [(_rate(cupy, copy, pinned), _rate(cupy, copy, plain)) for _ in range(repeats + 1)]
        figures.append(paired(f"gpu_{way}_pinned", pairs[1:]))
        say(f"gpu_{way}_pinned: {figures[-1].value:.1f} GB/s, not pinned {figures[-1].limit:.1f}")
    return figures


def _rate(cupy: Any, copy: Callable[[Any], object], memory: Any) -> float:
    cupy.cuda.runtime.deviceSynchronize()
    began = time.perf_counter()
    copy(memory)
    cupy.cuda.runtime.deviceSynchronize()
    return NBYTES / (time.perf_counter() - began) / 1e9
