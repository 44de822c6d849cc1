"""Images to disk as they came, against receiving and plain writing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import limadask as ld
from limadask.cluster.local import local_client
from limadask_benchmarks.receive.bench import Bench
from limadask_benchmarks.receive.blocks import IMAGES, REPEATS
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.runs import acquire
from limadask_benchmarks.results import Figure, paired, paired_cost
from limadask_tasks import SaveHdf5

Say = Callable[[str], object]
FRAMES = 1500


def saving(
    say: Say, images: Images = IMAGES, counts: tuple[int, ...] = (1, 2), repeats: int = REPEATS,
    frames: int = FRAMES,
) -> list[Figure]:  # fmt: skip
    """Measure rate and CPU for each number of receivers."""
    with Bench("stream2", images) as bench:
        return [
            figure for count in counts for figure in _compare(bench, count, repeats, frames, say)
        ]


def _compare(bench: Bench, count: int, repeats: int, frames: int, say: Say) -> list[Figure]:
    rates: list[tuple[float, float]] = []
    costs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name, local_client(count, memory_limit=0) as client:
        for repeat in range(repeats + 1):
            bare = bench.run("write", count, frames)
            mine = acquire(client, bench, _pipeline(Path(name)), frames, count)
            if not repeat:  # files and pools are there from now on
                continue
            rates.append((mine.rate, bare.rate))
            costs.append((mine.cpu, bare.cpu))
            say(
                f"{count} receivers: {mine.rate:.0f} images/s saved, {bare.rate:.0f} received and "
                f"written: {mine.rate / bare.rate:.2f}; CPU {mine.cpu:.3f} and {bare.cpu:.3f} s/GB"
            )
    return [paired(f"saving_{count}", rates), paired_cost(f"saving_{count}_cpu", costs)]


def _pipeline(folder: Path) -> ld.Pipeline:
    pipeline = ld.Pipeline()
    pipeline.add(
        "file",
        SaveHdf5(
            folder=str(folder), prefix="bench", file_exists_policy="overwrite",
            nb_frames_per_file=100_000,
        ),
    )  # fmt: skip
    return pipeline
