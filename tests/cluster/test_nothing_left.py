"""What a worker that is killed leaves behind: nothing, also of what others made for it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.mpi.world import NAMES
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics

CAMERA = Simulator(shape=(64, 48))
SLOT = 64 * 48 * 2
BOUND = 30.0


def names_of(processes: Iterable[psutil.Process]) -> set[str]:
    """What processes have open or mapped that MPI gave a name."""
    found = set[str]()
    for one in processes:
        maps = Path(f"/proc/{one.pid}/maps").read_text()
        opened = [os.readlink(entry) for entry in Path(f"/proc/{one.pid}/fd").iterdir()]
        found.update(NAMES.findall("\n".join([maps, *opened])))
    return found


def killed(process: psutil.Process) -> None:
    """Kill a process, and wait for the end of all that it had started."""
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, BOUND)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@ld.mpi_task(plan={"total": "f8"})
def waiting(comm: Any, block: xr.DataArray, told: str = "") -> Any:
    """Waits for ever, but for the block with which it is tried."""
    if comm.rank == 0 and os.path.exists(told + ".armed"):
        with open(told, "wb", buffering=0) as pipe:
            pipe.write(b"1")
        signal.pause()
    whole = comm.bcast(block.sum(("y", "x")).values.astype("f8"))
    return {"total": (("frame", "band"), whole)}


def test_a_worker_killed_in_the_middle_of_a_block_of_mpi(tmp_path: Path) -> None:
    fifo = tmp_path / "told"
    os.mkfifo(fifo)
    told = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    pipe = ld.Pipeline()
    pipe.add("total", waiting(told=str(fifo), ranks=2))
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(client, CAMERA, pipe, nb_frames=20, expo_time=1e-3)
        acquisition.prepare()
        Path(f"{fifo}.armed").touch()
        acquisition.start()
        assert select.select([told], [], [], BOUND)[0]
        os.close(told)
        families = {
            name: [psutil.Process(one.pid), *psutil.Process(one.pid).children(recursive=True)]
            for name, one in cluster.workers.items()
        }
        (victim,) = (name for name, family in families.items() if len(family) > 2)
        names = names_of(families[victim])
        assert len(names) >= 2, "this MPI has other names: world.NAMES must know them"
        killed(families[victim][0])
        assert not [one for one in names if os.path.exists(one)]


def spool_nbytes(folder: Path, pid: int) -> int:
    """Bytes of files in a folder that a process has open, though no name leads to them."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith(str(folder)) and target.endswith("(deleted)"):
            found += entry.stat().st_size
    return found


def test_a_worker_killed_while_frames_wait_on_disk(tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    buffers = ld.Buffers(nb_frames_per_block=1, nbytes=8 * SLOT, folder=str(tmp_path))
    shared = set(os.listdir("/dev/shm"))
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        (worker,) = cluster.workers.values()
        batch = ld.Batch(client, "deferred")
        # the second one's frames come when those of the first are on disk, and never end
        for nb_frames in (60, 0):
            batch.add(
                ld.Acquisition(
                    client, CAMERA, pipe, nb_frames=nb_frames, expo_time=1e-3, buffers=buffers
                )
            )
        batch.start()
        first, _ = batch
        first.wait("acquired", timeout=BOUND)
        assert spool_nbytes(tmp_path, worker.pid) > 8 * SLOT
        killed(psutil.Process(worker.pid))
    assert list(tmp_path.iterdir()) == []
    assert not [one for one in set(os.listdir("/dev/shm")) - shared if "limadask" in one]
