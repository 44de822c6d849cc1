"""Sparse frames: what it costs to make them, and what they and their files take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import limadask as ld
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask_benchmarks.results import Figure, paired, paired_cost
from limadask_tasks import Densify, SaveHdf5, Sparsify

SHAPE = 2162, 2068
OCCUPANCIES = 0.0001, 0.001, 0.01, 0.1
"""Parts of the pixels that hold something."""
FRAMES, ROUNDS = 4, 9
SAVED = 64
"""Frames of a file."""


def sparsify(
    say: Callable[[str], object],
    shape: tuple[int, int] = SHAPE,
    frames: int = FRAMES,
    rounds: int = ROUNDS,
    saved: int = SAVED,
) -> list[Figure]:
    """Measure sparsify and densify against a copy of the frames, files against dense ones.

    Parameters
    ----------
    say:
        Is told what goes on.
    shape:
        Rows and columns of a frame, uint16.
    frames, rounds:
        Frames of a block, and how many turns there are.
    saved:
        Frames of a file.

    Raises
    ------
    RuntimeError
        When what comes back differs: then no figure is worth anything.
    """
    figures = []
    for occupancy in OCCUPANCIES:
        pixels = photons(frames, shape, occupancy)
        name = f"{100 * occupancy:g}%"
        figures += _kernels(name, pixels, rounds)
        figures += _files(name, pixels, rounds, saved)
        told = {one.what.rpartition("_")[0]: one for one in figures[-4:]}
        say(", ".join(f"{what} {one.ratio:.2f}" for what, one in told.items()) + f" at {name}")
    return figures


def photons(count: int, shape: tuple[int, int], occupancy: float) -> NDArray[np.uint16]:
    """Return frames ``(frame, band, y, x)`` with single photons at random places."""
    random = np.random.default_rng(1)
    pixels = np.zeros((count, 1, *shape), np.uint16)
    flat = pixels.reshape(count, -1)
    for image in flat:
        held = random.choice(image.size, int(occupancy * image.size), replace=False)
        image[held] = random.integers(1, 9, held.size)
    return pixels


def _kernels(name: str, pixels: NDArray[Any], rounds: int) -> list[Figure]:
    """Measure both ways against a copy, in GB of pixels a second, in turn."""
    spec = Spec(Grid(pixels.shape[2:]), pixels.dtype)
    dense, copy = Frames.of(pixels), np.empty_like(pixels)
    to_sparse = Sparsify().convert(spec)
    kept = to_sparse(dense)
    to_dense = Densify().convert(Sparsify().plan(spec))
    if not np.array_equal(to_dense(kept).pixels, pixels):
        raise RuntimeError("what comes back differs: the figures would be worthless")
    work: tuple[Callable[[], object], ...] = (
        lambda: to_sparse(dense),
        lambda: to_dense(kept),
        lambda: np.copyto(copy, pixels),
    )
    rates = [[pixels.nbytes / _seconds(one) / 1e9 for one in work] for _ in range(rounds)]
    return [
        paired(f"sparsify_{name}", [(there, copied) for there, _, copied in rates]),
        paired(f"densify_{name}", [(back, copied) for _, back, copied in rates]),
    ]


def _files(name: str, pixels: NDArray[Any], rounds: int, saved: int) -> list[Figure]:
    """Measure bytes and rate of files by ``save_hdf5``, against dense bslz4, in turn."""
    times: list[tuple[float, float]] = []
    sizes: list[tuple[float, float]] = []
    repeated = np.concatenate([pixels] * max(1, saved // len(pixels)))
    for _ in range(max(1, rounds // 3)):
        found = [_saved(repeated, is_sparse) for is_sparse in (True, False)]
        times.append((found[0][0], found[1][0]))
        sizes.append((found[0][1], found[1][1]))
    return [paired(f"rate_{name}", times), paired_cost(f"size_{name}", sizes)]


def _saved(pixels: NDArray[Any], is_sparse: bool) -> tuple[float, float]:
    """Return frames a second, and bytes of a frame."""
    pipe = ld.Pipeline()
    if is_sparse:
        pipe.add("photons", Sparsify())
    with tempfile.TemporaryDirectory() as folder:
        saver = SaveHdf5(folder=folder)
        pipe.add("file", saver, after="photons" if is_sparse else "input")
        began = time.perf_counter()
        ld.process(pixels, pipe, keep=[])
        took = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).glob("*_0_*.h5"))
    return len(pixels) / took, size / len(pixels)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
