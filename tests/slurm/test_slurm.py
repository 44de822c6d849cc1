"""Acquisitions on the jobs of a real SLURM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client
from pages import commands, free_port, printed, running
from slurm_queue import cancel_all

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

pytestmark = pytest.mark.slurm
Queue = Callable[..., list[str]]
CAMERA = Simulator(shape=(64, 48))
CLUSTER = """
receivers: {partition: receivers, cores: 2, memory: 1 GiB, interface: lo}
processing:
  jobs: 2
  partition: compute
  cores: 1
  memory: 1 GiB
  interface: lo
  walltime: "00:10:00"
  resources: {disk: 2}
  prologue: ["export LIMADASK_TEST=prologue"]
  directives: ["--comment=from-the-file"]
interface: lo
start_timeout: 100
"""
RUN = """
detector: {type: simulator, shape: [64, 48]}
acquisition: {nb_frames: 100, expo_time: 0.001}
topology: {workers: 2, roles: separate}
pipeline:
  - {name: file, task: save_hdf5, folder: out, prefix: sample1}
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def client(queue: Queue, tmp_path: Path) -> Iterator[Client]:
    with (
        ld.slurm_cluster(written(tmp_path, "slurm.yaml", CLUSTER)) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(3, timeout=100)
        yield client


def losing(client: Client, tmp_path: Path, lose: Callable[[], object]) -> ld.Acquisition:
    """Run an acquisition, and lose something in the middle of it."""
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path / "out"), prefix="run"), after="input")
    done: list[object] = []

    def told(status: dict[str, Any]) -> None:
        if not done and status["processed"] > 50:
            done.append(lose())

    acquisition = ld.Acquisition(
        client,
        CAMERA,
        pipe,
        nb_frames=600,
        expo_time=5e-3,
        topology=ld.Topology(workers=2, roles="separate"),
        buffers=ld.Buffers(nb_frames_per_block=5),
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(told=told, timeout=100)
    assert done
    return acquisition


def assert_saved(acquisition: ld.Acquisition) -> int:
    """Return how many frames the ledger says are there, each compared in the master file."""
    status = acquisition.ledger.status.values
    with h5py.File(acquisition.files["file"]) as file:
        assert np.array_equal(file["entry/data/frame_status"][()], status)
        present = np.flatnonzero(status == ld.Status.PRESENT).tolist()
        for number in present:
            expected = CAMERA.frame(number).values[0]
            assert np.array_equal(file["entry/data/data"][number], expected), number
    return len(present)


def scancel(job: str, *options: str) -> None:
    subprocess.run(["scancel", *options, job], check=True)


def told_of(client: Client, variable: str) -> dict[str, str | None]:
    """Return a variable of the environment of each worker, by its name."""
    found = client.run(lambda dask_worker: (dask_worker.name, os.environ.get(variable)))
    return dict(found.values())


def test_each_kind_of_job_is_what_its_part_of_the_file_says(client: Client, queue: Queue) -> None:
    assert told_of(client, "SLURM_JOB_PARTITION") == {
        "receiver-0": "receivers",
        "processing-0": "compute",
        "processing-1": "compute",
    }
    assert told_of(client, "LIMADASK_TEST")["processing-0"] == "prologue"
    assert told_of(client, "LIMADASK_TEST")["receiver-0"] is None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    assert {one["name"]: (one["nthreads"], one["resources"]) for one in workers} == {
        "receiver-0": (2, {"receiver": 1}),
        "processing-0": (1, {"processing": 1, "disk": 2}),
        "processing-1": (1, {"processing": 1, "disk": 2}),
    }
    (job, _) = queue("limadask-processing")
    described = subprocess.run(
        ["scontrol", "show", "job", job], capture_output=True, text=True, check=True
    ).stdout
    assert "Comment=from-the-file" in described
    assert "TimeLimit=00:10:00" in described


@pytest.mark.parametrize("options", [(), ("--full", "--signal=KILL")], ids=["ended", "killed"])
def test_no_frame_is_missed_when_a_processing_job_is_cancelled(
    client: Client, queue: Queue, tmp_path: Path, options: tuple[str, ...]
) -> None:
    jobs = queue("limadask-processing")
    acquisition = losing(client, tmp_path, lambda: scancel(jobs[0], *options))
    counts = acquisition.record().counts()
    assert sum(counts.values()) == 600
    assert counts["present"] == 600  # what the lost worker held went to the other
    assert assert_saved(acquisition) == 600
    assert acquisition.parameters.software is not None
    assert acquisition.parameters.software.receivers == ("receiver-0",)


def test_frames_have_a_cause_when_the_receivers_job_is_cancelled(
    client: Client, queue: Queue, tmp_path: Path
) -> None:
    (job,) = queue("limadask-receiver")
    acquisition = losing(client, tmp_path, lambda: scancel(job))
    counts = acquisition.record().counts()
    assert sum(counts.values()) == 600
    assert counts["absent"] > 0
    causes = {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)}
    assert causes == {"receiver_lost"}
    assert assert_saved(acquisition) == counts["present"] >= 50


def limadask(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "limadask", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=170)


def test_the_command_line_runs_on_jobs_of_its_own(queue: Queue, tmp_path: Path) -> None:
    cluster = written(tmp_path, "slurm.yaml", CLUSTER)
    done = limadask("run", written(tmp_path, "run.yaml", RUN), "--cluster", cluster, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["frames"]["present"] == 100
    with h5py.File(told["files"]["file"]) as file:
        assert file["entry/data/data"].shape == (100, 64, 48)
    assert list((tmp_path / "slurm-logs").glob("limadask-receiver-*.err"))
    assert queue() == []


def test_what_slurm_refuses_is_told_and_nothing_is_left(queue: Queue, tmp_path: Path) -> None:
    text = CLUSTER.replace("partition: compute", "partition: nowhere")
    cluster = written(tmp_path, "slurm.yaml", text)
    done = limadask("run", written(tmp_path, "run.yaml", RUN), "--cluster", cluster, "--json")
    assert done.returncode == 1
    assert "invalid partition" in json.loads(done.stdout.splitlines()[-1])["error"]
    assert queue() == []


def test_jobs_that_do_not_start_in_time_are_told(queue: Queue, tmp_path: Path) -> None:
    held = (
        "receivers: {partition: receivers, cores: 1, memory: 1 GiB, interface: lo,\n"
        '            directives: ["--hold"]}\ninterface: lo\nstart_timeout: 3\n'
    )
    cluster = written(tmp_path, "slurm.yaml", held)
    done = limadask("run", written(tmp_path, "run.yaml", RUN), "--cluster", cluster, "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert "0 of 1 workers have started within 3 s" in error
    assert queue() == []


def test_jobs_join_a_scheduler_that_runs_by_itself(queue: Queue, tmp_path: Path) -> None:
    """By the commands on the page about SLURM."""
    port = free_port()
    scheduler, receiver, processor, run = commands("slurm.md", port)
    written(tmp_path, "run.yaml", RUN.replace("workers: 2", "workers: 1"))
    with running(scheduler, tmp_path):
        try:
            for submit in (receiver, processor):
                printed(submit, tmp_path)
            with Client(f"tcp://127.0.0.1:{port}", timeout=100) as client:
                client.wait_for_workers(2, timeout=100)
            told = json.loads(printed([*run, "--json"], tmp_path).splitlines()[-1])
            assert told["frames"]["present"] == 100
            assert len(queue()) == 2  # they stay for the next run
        finally:
            cancel_all()
