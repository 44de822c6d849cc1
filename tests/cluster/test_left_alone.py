"""What is left on workers when nobody wants it any more: nothing."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, Worker

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.storage import rescue, series_files
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

STARTER = """
    import sys
    import limadask as ld
    from distributed import Client, Worker
    from limadask_detectors import Simulator
    from limadask_tasks import SaveHdf5

    folder = sys.argv[2]

    @ld.task
    def held(frames):
        import fcntl, os
        if not os.path.exists(folder + "/armed"):  # preparing tries it
            return frames
        with open(folder + "/begun", "wb", buffering=0) as begun, open(folder + "/lock") as lock:
            begun.write(b"!")
            fcntl.flock(lock, fcntl.LOCK_SH)
        return frames

    client = Client(sys.argv[1])
    pipe = ld.Pipeline()
    pipe.add("held", held())
    pipe.add("file", SaveHdf5(folder=folder, prefix="run"))
    acquisition = ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=4, expo_time=1e-3,
        buffers=ld.Buffers(nb_frames_per_block=4), topology=ld.Topology(roles="separate"),
    )
    acquisition.prepare()
    open(folder + "/armed", "w").close()
    acquisition.start()
    sys.stdin.read()
"""
BOUND = 25.0


def test_a_block_being_processed_is_saved_before_the_files_are_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    begun = os.open(tmp_path / "begun", os.O_RDONLY | os.O_NONBLOCK)
    with process_cluster(2) as cluster, open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starter = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(STARTER), cluster.address, str(tmp_path)],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert select.select([begun], [], [], BOUND)[0]
            cluster.scheduler.kill()
            workers = [psutil.Process(one.pid) for one in cluster.workers.values()]
            _, alive = psutil.wait_procs(workers, timeout=5)
            assert len(alive) == 1  # it waits for its block
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert not psutil.wait_procs(alive, timeout=BOUND)[1]
        finally:
            starter.kill()
            starter.communicate()
            os.close(begun)
    assert [path.name for path in series_files(tmp_path, "run")[0]] == ["run_0_00000.h5"]
    (made,) = rescue(tmp_path).made
    assert made.frames == {"present": 4, "partial": 0, "absent": 0, "vetoed": 0}


class NeverClosed(Simulator):
    """A camera that does not let go."""

    def close(self) -> None:
        threading.Event().wait()


def test_a_detector_that_hangs_when_it_is_closed_keeps_no_worker_alive() -> None:
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        camera = NeverClosed(shape=(64, 48))
        ld.Acquisition(client, camera, nb_frames=4, expo_time=1e-3).prepare()
        cluster.scheduler.kill()
        (worker,) = cluster.workers.values()
        assert worker.wait(timeout=90) is not None


class SlowToPrepare(Simulator):
    """A camera that tells when it begins to be configured, and when it has been, later."""

    fifo: str

    def prepare(self, share: Any, endpoints: tuple[str, ...]) -> Any:
        with open(self.fifo, "wb", buffering=0) as told:
            told.write(b"1")
            threading.Event().wait(1.0)
            told.write(b"2")
        return super().prepare(share, endpoints)


def _stations(dask_worker: Worker) -> list[str]:
    return list(dask_worker.extensions["limadask"]._stations)


def test_a_run_that_is_aborted_while_it_is_prepared_leaves_nothing(
    client: Client, tmp_path: Path
) -> None:
    """Preparing went on after the abort: it opened files, and made a pool that stayed."""
    os.mkfifo(tmp_path / "fifo")
    told = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path / "out"), prefix="run"))
    camera = SlowToPrepare(shape=(64, 48), fifo=str(tmp_path / "fifo"))
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=10)
    preparing = threading.Thread(target=acquisition.prepare)
    preparing.start()
    try:
        assert select.select([told], [], [], BOUND)[0]
        assert os.read(told, 1) == b"1"
        acquisition.abort()
        preparing.join(BOUND)
        assert acquisition.state == ("aborted", "aborted")
        assert select.select([told], [], [], BOUND)[0]  # only now it comes back from the camera
    finally:
        os.close(told)
    with ld.Acquisition(client, Simulator(shape=(64, 48)), ld.Pipeline(), nb_frames=3) as later:
        later.prepare()  # all stages take longer for it than what was left of the other one
        later.start()
        later.wait(timeout=60)
    assert [one for found in client.run(_stations).values() for one in found] == []
    assert not (tmp_path / "out").exists()
