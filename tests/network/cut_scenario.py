"""An acquisition across hosts, one of which loses its link.

``python cut_scenario.py FOLDER HOST SECONDS``: cuts the link of HOST for SECONDS, none if it is
``-``; then runs another acquisition on all hosts.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from distributed import Client
from hosts import cut, hosts, mend, tell

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

CAMERA = Simulator(shape=(64, 48))


def acquire(client: Client, folder: Path, nb_frames: int, at_51: Any = None) -> ld.Acquisition:
    """Run one; do something when 51 frames have been processed."""
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="input")
    done: list[object] = []

    def told(status: dict[str, Any]) -> None:
        if at_51 is not None and not done and status["processed"] > 50:
            done.append(at_51())

    acquisition = ld.Acquisition(
        client,
        CAMERA,
        pipe,
        nb_frames=nb_frames,
        expo_time=5e-3,
        topology=ld.Topology(workers=2, roles="separate"),
        buffers=ld.Buffers(nb_frames_per_block=5),
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(told=told, timeout=60)
    return acquisition


def saved(acquisition: ld.Acquisition) -> bool:
    """Tell whether the master file holds just what the ledger says."""
    status = acquisition.ledger.status.values
    with h5py.File(acquisition.files["file"]) as file:
        same = bool(np.array_equal(file["entry/data/frame_status"][()], status))
        return same and all(
            np.array_equal(file["entry/data/data"][number], CAMERA.frame(number).values[0])
            for number in np.flatnonzero(status == ld.Status.PRESENT).tolist()
        )


def main(folder: Path, host: str, seconds: float) -> None:
    with hosts(["rx-0", "proc-0", "proc-1"], folder) as (client, start_worker):
        names = {one["name"]: one["host"] for one in workers(client)}
        mending = threading.Timer(seconds, mend, [host])

        def lose() -> None:
            cut(host)
            mending.start()

        begun = time.monotonic()
        first = acquire(client, folder / "first", 400, None if host == "-" else lose)
        elapsed = time.monotonic() - begun
        if host != "-":
            mending.join()
        if host != "-" and host not in {one["name"] for one in workers(client)}:
            start_worker(
                host
            )  # the old one ends by itself when it hears that it was taken for dead
        client.wait_for_workers(3, timeout=60)
        second = acquire(client, folder / "second", 60)
        tell(
            hosts=names,
            elapsed=elapsed,
            counts=first.record().counts(),
            causes=sorted({cause for *_, cause in first.record().ranges(ld.Status.ABSENT)}),
            saved=saved(first) and saved(second),
            afterwards=second.record().counts()["present"],
        )


def workers(client: Client) -> list[dict[str, Any]]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
