"""The kernels of a pipeline on large pages and on small ones.

Frames lie in memory that was asked for with each kind of pages; mask and flat-field are merged, and
regions summed, by one thread. How many large pages the system has really given is told: it gives
none where it has no 2 MiB in one piece.
"""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.memory import HugeAllocator
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask_benchmarks.memory.cases import PER_BLOCK, SHAPE
from limadask_benchmarks.results import Figure, paired
from limadask_benchmarks.workload import ROIS, camera, corrections
from limadask_tasks import RoiStatistics

Say = Callable[[str], object]
Ask = Callable[[int], NDArray[np.uint8]]
BLOCKS = 4
"""Blocks in memory, gone through one after the other: more than any cache holds."""
REPEATS = 9


def huge(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure frames a second on pages of each kind, in turn with small ones."""
    spec = Spec(Grid(SHAPE), np.dtype("uint16"), nb_frames=PER_BLOCK)
    program = Program(plan(_pipeline(), spec), Policy(), uuid="bench")
    small = _blocks(_advised(mmap.MADV_NOHUGEPAGE))
    kinds: Mapping[str, Ask] = {
        "advised": _advised(mmap.MADV_HUGEPAGE),
        "explicit": _explicit,
    }
    figures = []
    for kind, allocate in kinds.items():
        before = _large_nbytes()
        try:
            large = _blocks(allocate)
        except MemoryError as error:
            say(f"huge_{kind}: not measured, there are no such pages here ({error})")
            continue
        given = _large_nbytes() - before
        pairs = [(_rate(program, large), _rate(program, small)) for _ in range(repeats + 1)][1:]
        figures.append(paired(f"huge_{kind}", pairs))
        share = given / (BLOCKS * _block_nbytes())
        say(f"huge_{kind}: {figures[-1].value:.0f} frames/s, on small pages "
            f"{figures[-1].limit:.0f}; {share:.0%} of the memory is in large pages")  # fmt: skip
        del large
    program.close()
    return figures


def _pipeline() -> Pipeline:
    mask, flat = corrections(*SHAPE)
    pipe = Pipeline()
    pipe.add("masked", mask)
    pipe.add("flat", flat, after="masked")
    pipe.add("stats", RoiStatistics(rois=ROIS), after="flat")
    return pipe


def _block_nbytes() -> int:
    return PER_BLOCK * SHAPE[0] * SHAPE[1] * 2


def _advised(advice: int) -> Ask:
    def allocate(nbytes: int) -> NDArray[np.uint8]:
        pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pages.madvise(advice)
        return np.frombuffer(pages, np.uint8)

    return allocate


def _explicit(nbytes: int) -> NDArray[np.uint8]:
    return HugeAllocator().allocate(nbytes)


def _blocks(allocate: Ask) -> list[Frames]:
    source = camera(*SHAPE).source()
    made = []
    for number in range(BLOCKS):
        memory = allocate(_block_nbytes()).view(np.uint16)
        pixels: NDArray[np.uint16] = memory.reshape(PER_BLOCK, 1, *SHAPE)
        for place in range(PER_BLOCK):
            source.fill(place, pixels[place])
        made.append(Frames.of(pixels, PER_BLOCK * number))
    return made


def _rate(program: Program, blocks: list[Frames]) -> float:
    began = time.perf_counter()
    for block in blocks:
        if failures := program.run(block).failures:
            raise RuntimeError(f"the figures would be worthless: {failures[0].text}")
    return BLOCKS * PER_BLOCK / (time.perf_counter() - began)


def _large_nbytes() -> int:
    """Return the bytes of this process in large pages."""
    with suppress(OSError):
        text = Path("/proc/self/smaps_rollup").read_text()
        found = re.findall(r"^(?:AnonHugePages|Private_Hugetlb): +(\d+) kB", text, re.M)
        return 1024 * sum(map(int, found))
    return 0
