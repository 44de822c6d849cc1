"""Several savers of one file set on several workers, also when one of these is killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import FindPeaks, Flip, RoiStatistics, SaveHdf5

CAMERA = Simulator(shape=(64, 48))
ENTRIES = ("entry", "flipped", "stats", "peaks")


def pipeline(folder: Path) -> ld.Pipeline:
    """Four savers at different stages."""
    pipe = ld.Pipeline()
    pipe.add("up", Flip(axis="y"))
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    pipe.add("peaks", FindPeaks(threshold=4), after="up")
    parents = dict(zip(ENTRIES, ("input", "up", "stats", "peaks"), strict=True))
    for entry, parent in parents.items():
        saver = SaveHdf5(folder=str(folder), prefix="run", entry=entry, nb_frames_per_file=20)
        pipe.add(f"save_{entry}", saver, after=parent)
    return pipe


def check(acquisition: ld.Acquisition, nb_frames: int) -> dict[str, list[int]]:
    """Hold all entries against the simulator and what has streamed; return what each has."""
    (path,) = set(acquisition.files.values())
    there = {}
    with h5py.File(path) as file:
        assert file.attrs["default"] == "entry"
        assert sorted(file) == sorted(ENTRIES)
        for entry in ENTRIES:
            status = file[f"{entry}/data/frame_status"][()]
            assert len(status) == nb_frames
            there[entry] = np.flatnonzero(status == ld.Status.PRESENT).tolist()
        for number in there["entry"]:
            frame = CAMERA.frame(number).values[0]
            np.testing.assert_array_equal(file["entry/data/data"][number], frame)
        for number in there["flipped"]:
            frame = CAMERA.frame(number).values[0]
            np.testing.assert_array_equal(file["flipped/data/data"][number], frame[::-1])
    tree = ld.open(path)
    stats, peaks = (tree[f"{name}/data"].to_dataset().load() for name in ("stats", "peaks"))
    for number in there["stats"]:
        total = CAMERA.frame(number).values[0, :8, :8].sum()
        assert stats["sum"].values[number, 0, 0] == total
    stops = np.cumsum(peaks["count"].values)
    assert stops[-1] == peaks.sizes["peak"] > 0
    alone = ld.Pipeline()
    alone.add("up", Flip(axis="y"))
    alone.add("peaks", FindPeaks(threshold=4), after="up")
    for number in there["peaks"][::9]:
        expected = ld.process(CAMERA.frame(number), alone)["peaks"]
        count = int(expected["count"].item())
        assert peaks["count"].values[number] == count
        mine = slice(stops[number] - count, stops[number])
        np.testing.assert_array_equal(peaks["y"].values[mine], expected["y"])
    return there


def test_three_workers_write_four_entries(
    run: Callable[..., ld.Acquisition], tmp_path: Path
) -> None:
    acquisition = run(
        pipeline(tmp_path), CAMERA, nb_frames=120, topology=ld.Topology(workers=3),
        buffers=ld.Buffers(nb_frames_per_block=5),
    )  # fmt: skip
    assert acquisition.record().counts()["present"] == 120
    assert check(acquisition, 120) == {entry: list(range(120)) for entry in ENTRIES}
    (path,) = set(acquisition.files.values())
    for node in ("stats", "peaks"):
        streamed, saved = acquisition.data[node], ld.open(path)[f"{node}/data"].to_dataset()
        for name, one in streamed.data_vars.items():
            xr.testing.assert_equal(one.variable, saved[name].variable)


def test_a_killed_worker_costs_no_acknowledged_row(tmp_path: Path) -> None:
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipeline(tmp_path), nb_frames=400, expo_time=2e-3,
            topology=ld.Topology(workers=2, roles="separate"),
            buffers=ld.Buffers(nb_frames_per_block=5),
        )  # fmt: skip
        killed: list[str] = []

        def kill(status: dict[str, Any]) -> None:
            software = acquisition.parameters.software
            if status["processed"] > 80 and not killed and software is not None:
                killed.append(software.processors[1])
                cluster.send(killed[0], signal.SIGKILL)

        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=60, told=kill)
        assert killed
        ledger = acquisition.record()
        present = [n for a, b, _ in ledger.ranges(ld.Status.PRESENT) for n in range(a, b + 1)]
        there = check(acquisition, 400)
        assert sum(ledger.counts().values()) == 400
        for entry in ENTRIES:  # a frame that is present is in every entry
            assert set(present) <= set(there[entry])
        partial = [n for a, b, _ in ledger.ranges(ld.Status.PARTIAL) for n in range(a, b + 1)]
        some = set().union(*map(set, there.values()))
        assert some <= set(present) | set(partial)
        assert len(present) > 300
