"""Pipelines whose allocations are counted; each in a process of its own, see `allocations`.

Blocks of 16 frames of 1 Mpixel are taken through a program by two threads, as in a worker; what a
block is made of lies in memory before.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

import limadask as ld
from limadask.frames import Frames, Packed, Spec
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline import Program, plan
from limadask.storage import encoder
from limadask_benchmarks.memory.counting import counted
from limadask_benchmarks.workload import ROIS, camera, corrections
from limadask_tasks import Integrate1d, RoiStatistics, SaveHdf5

SHAPE = (1024, 1024)
PER_BLOCK = 16
THREADS = 2
WARM, BLOCKS = 8, 16
"""Blocks before counting begins, and while it goes on."""


@dataclass(frozen=True, slots=True)
class Case:
    """A pipeline, and how often it may allocate.

    Parameters
    ----------
    pipeline:
        Makes it, with its files in a folder.
    per_chunk:
        Allocations that a compressed chunk may cost; a frame has one.
    packed:
        Whether frames come compressed.
    per_block:
        Allocations that a block may cost besides.
    """

    pipeline: Callable[[str], ld.Pipeline]
    per_chunk: int = 0
    packed: bool = False
    per_block: int = 0

    @property
    def limit(self) -> int:
        """Allocations that a block may cost."""
        return self.per_block + self.per_chunk * PER_BLOCK


def _corrected(folder: str) -> ld.Pipeline:
    mask, flat = corrections(*SHAPE)
    pipe = ld.Pipeline()
    pipe.add("masked", mask)
    pipe.add("flat", flat, after="masked")
    pipe.add("stats", RoiStatistics(rois=ROIS), after="flat")
    return pipe


def _corrected_saved(folder: str) -> ld.Pipeline:
    pipe = _corrected(folder)
    pipe.add("file", SaveHdf5(folder=folder), after="flat")
    return pipe


def _integrated(folder: str) -> ld.Pipeline:
    pixel = 75e-6
    detector = {"pixel1": pixel, "pixel2": pixel, "max_shape": list(SHAPE), "orientation": 3}
    middle = SHAPE[0] / 2 * pixel
    geometry = {
        "poni_version": 2.1, "dist": 0.2, "poni1": middle, "poni2": middle, "rot1": 0.0,
        "rot2": 0.0, "rot3": 0.0, "detector": "Detector", "detector_config": detector,
        "wavelength": 1e-10,
    }  # fmt: skip
    pipe = ld.Pipeline()
    pipe.add("curve", Integrate1d(poni=geometry, npt=1000))
    return pipe


def _measured(folder: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=ROIS))
    return pipe


def _saved(folder: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=folder))
    return pipe


def _saved_plain(folder: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=folder, compression="none"))
    return pipe


@ld.task
def copied(block: xr.DataArray) -> xr.DataArray:
    """Return a copy."""
    return block.copy()


def _copied(folder: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("copy", copied())
    return pipe


CASES = {
    "corrected": Case(_corrected),
    "corrected_saved": Case(_corrected_saved, per_chunk=1),
    "integrated": Case(_integrated),
    "decoded": Case(_measured, packed=True),
    "saved": Case(_saved, per_chunk=1),
    "saved_plain": Case(_saved_plain),
    "saved_packed": Case(_saved, packed=True),
    "copied": Case(_copied, per_block=1),
}
"""All of them by name; ``saved_packed`` saves chunks as they come, and the user's own function of
``copied`` makes a copy of the block, to see that it is found."""


def blocks(count: int, packed: bool) -> list[Frames]:
    """Return blocks of frames that follow each other, all with the same pixels."""
    pixels = np.empty((PER_BLOCK, 1, *SHAPE), np.uint16)
    source = camera(*SHAPE).source()
    for place in range(PER_BLOCK):
        source.fill(place, pixels[place])
    chunks = _packed(pixels) if packed else None
    made = []
    for number in range(count):
        frames = Frames.of(pixels, PER_BLOCK * number)
        if chunks is not None:
            frames = Frames(
                pixels[:0], frames.numbers, frames.timestamps, frames.status, frames.span,
                packed=chunks,
            )  # fmt: skip
        made.append(frames)
    return made


def _packed(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Packed:
    encode = encoder("bshuf_lz4")
    chunks = [bytes(encode(frame[0])) for frame in pixels]
    sizes = np.array([[len(chunk)] for chunk in chunks], np.int64)
    offsets = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
    data = np.frombuffer(b"".join(chunks), np.uint8)
    return Packed(data, offsets, sizes, "bshuf_lz4", SHAPE, pixels.dtype)


def run(program: Program, some: Sequence[Frames], executor: Executor) -> None:
    """Take blocks through a program, by all threads of the executor.

    Raises
    ------
    RuntimeError
        When something fails in it.
    """
    together = threading.Barrier(THREADS)  # each thread has its turn, whatever there is to do

    def work(mine: Sequence[Frames]) -> None:
        together.wait(60)
        for block in mine:
            if failures := program.run(block).failures:
                raise RuntimeError(f"the figures would be worthless: {failures[0].text}")

    shares = [some[number::THREADS] for number in range(THREADS)]
    list(executor.map(work, shares))


def main() -> None:
    """Print who allocates how often in the case named, as JSON."""
    case = CASES[sys.argv[1]]
    spec = Spec(Grid(SHAPE), np.dtype("uint16"), nb_frames=PER_BLOCK * (WARM + BLOCKS))
    some = blocks(WARM + BLOCKS, case.packed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(THREADS) as executor:
        program = Program(plan(case.pipeline(folder), spec), Policy(), uuid="bench")
        try:
            run(program, some[:WARM], executor)
            with counted() as sites:
                run(program, some[WARM:], executor)
        finally:
            program.close()
    print(json.dumps([asdict(site) for site in sites]))


if __name__ == "__main__":
    main()
