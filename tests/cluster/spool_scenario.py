"""Frames held for later on a disk that is full; run as a script by ``test_disk.py``."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from disk import fill

import limadask as ld
from limadask.cluster.local import local_client
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics

ROOM = 300_000
"""Bytes that are left: some 50 frames."""


def main() -> None:
    """Acquire more than pool and disk hold, process later, print what became of the frames."""
    disk = Path(sys.argv[1])
    warnings.simplefilter("ignore", ld.FallbackWarning)  # this disk is in memory
    fill(disk, free=ROOM)
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 64, 48)]))
    camera = Simulator(shape=(64, 48))
    slot = 64 * 48 * 2
    with local_client(1, memory_limit=0) as client, ld.Batch(client, "deferred") as batch:
        one = batch.add(
            ld.Acquisition(
                client, camera, pipe, nb_frames=200, expo_time=5e-3,
                buffers=ld.Buffers(nb_frames_per_block=1, nbytes=8 * slot, folder=str(disk)),
            )
        )  # fmt: skip
        batch.start()
        batch.wait("acquired", timeout=60)
        batch.wait(timeout=60)
        stats = one.data["stats"]
        numbers = stats["frame"].values.tolist()
        wrong = [
            number
            for number, total in zip(numbers, stats["sum"].values[:, 0, 0].tolist(), strict=True)
            if total != int(camera.frame(number).values.sum())
        ]
        record = one.record()
        told = {
            "counts": record.counts(),
            "causes": sorted({why for *_, why in record.ranges(ld.Status.ABSENT)}),
            "numbers": numbers,
            "wrong": wrong,
            "failures": [dict(one) for one in one.statistics()["failures"]],
        }
    told["left"] = sorted(path.name for path in disk.iterdir())
    print(json.dumps(told))


if __name__ == "__main__":
    main()
