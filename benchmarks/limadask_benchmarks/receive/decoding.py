"""Images decoded and processed as they come, against decoding alone on two threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import limadask as ld
from limadask.cluster.local import local_client
from limadask_benchmarks.receive.bench import Bench
from limadask_benchmarks.receive.blocks import IMAGES, REPEATS
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.program import Program
from limadask_benchmarks.receive.runs import acquire
from limadask_benchmarks.results import Figure, paired
from limadask_benchmarks.workload import ROIS
from limadask_tasks import RoiStatistics

FRAMES = 1500
THREADS = 2


def decoding(
    say: Callable[[str], object], images: Images = IMAGES, repeats: int = REPEATS,
    frames: int = FRAMES,
) -> list[Figure]:  # fmt: skip
    """Measure statistics of four regions, whose pixels are decoded for that."""
    pipeline = ld.Pipeline()
    pipeline.add("statistics", RoiStatistics(rois=ROIS))
    rates: list[tuple[float, float]] = []
    with Bench("stream2", images) as bench, local_client(1, memory_limit=0) as client:
        for repeat in range(repeats + 1):
            alone = {"frames": frames, "threads": THREADS, "images": asdict(images)}
            with Program("decoder", **alone) as program:
                bare = float(program.greeting)
            mine = acquire(client, bench, pipeline, frames)
            if not repeat:  # kernels are compiled, pools are there from now on
                continue
            rates.append((mine.rate, bare))
            say(
                f"{mine.rate:.0f} images/s decoded and processed, {bare:.0f} decoded on {THREADS} "
                f"threads: {mine.rate / bare:.2f}; CPU {mine.cpu:.3f} s/GB"
            )
    return [paired("decoding", rates)]
