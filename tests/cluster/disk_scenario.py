"""A run on a disk that fails; run as a script by ``test_disk.py``, in a namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from disk import fill

import limadask as ld
from limadask.cluster.local import local_client
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics, SaveHdf5

CAMERA = Simulator(shape=(64, 48))
DETECTOR = "entry/instrument/detector"
NB_FRAMES = 600
SECONDS = 60
FAULT_AT, MENDED_AT = 60, 250


class Filling(ld.Sink):
    """Fills the disk when the data files are closed, before the master is written."""

    disk: str

    def open(self, spec: ld.Spec, place: ld.Place) -> Any:
        disk = Path(self.disk)

        class Writer:
            def encode(self, frames: ld.Frames) -> None:
                return None

            def write(self, encoded: list[Any]) -> None:
                return None

            def close(self) -> dict[str, Any]:
                fill(disk, f"filler{place.rank}")
                return {}

        return Writer()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def turn_readonly(folder: Path) -> None:
    """Let the folder be read-only from here on; files that are open stay as they are.

    It becomes so elsewhere, where nobody writes: a mount in which a file is open is refused.
    """
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    mount("--bind", str(folder), str(elsewhere))
    mount("-o", "remount,bind,ro", str(elsewhere))
    mount("--move", str(elsewhere), str(folder))


def pipeline(folder: Path, per_file: int, on_error: str) -> ld.Pipeline:
    saver = SaveHdf5(
        folder=str(folder), prefix="run", compression="none", nb_frames_per_file=per_file
    )
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]), after="input")
    pipe.add("file", saver, after="input", on_error=on_error)
    return pipe


def acquisition(client: Any, pipe: ld.Pipeline, nb_frames: int) -> ld.Acquisition:
    return ld.Acquisition(
        client, CAMERA, pipe, nb_frames=nb_frames, expo_time=2e-3,
        topology=ld.Topology(workers=2), buffers=ld.Buffers(nb_frames_per_block=5),
    )  # fmt: skip


def saved(folder: Path) -> dict[str, Any]:
    """Read all data files with plain h5py; compare each frame with the simulator's."""
    numbers: list[int] = []
    wrong, names = [], []
    for path in sorted(folder.glob("run_[0-9]*.h5")):
        names.append(path.name)
        with h5py.File(path, "r") as file:
            group = file[DETECTOR]
            rows = min(len(one) for one in group.values())
            for row, number in enumerate(group["frame_number"][:rows].tolist()):
                if number >= 0:
                    numbers.append(number)
                    if not np.array_equal(group["data"][row], CAMERA.frame(number).values[0]):
                        wrong.append(number)
    return {"numbers": sorted(numbers), "wrong": wrong, "names": names}


def master(folder: Path) -> list[int] | None:
    """Return the frames that the master shows, None where there is none."""
    path = folder / "run_master.h5"
    if not path.exists():
        return None
    with h5py.File(path, "r") as file:
        present = np.flatnonzero(file["entry/data/frame_status"][()] == ld.Status.PRESENT)
        for number in present.tolist():
            frame = file["entry/data/data"][number]
            assert np.array_equal(frame, CAMERA.frame(number).values[0]), number
    return [int(number) for number in present]


def fates(run: ld.Acquisition) -> dict[str, Any]:
    ledger = run.record()
    told: dict[str, Any] = {"counts": ledger.counts(), "causes": {}}
    for status in ld.Status:
        ranges = ledger.ranges(status)
        told[status.name.lower()] = [n for first, last, _ in ranges for n in range(first, last + 1)]
        told["causes"][status.name.lower()] = sorted({cause for *_, cause in ranges})
    return told


def statistics(run: ld.Acquisition) -> list[int]:
    """Return the frames with statistics, each compared with the simulator's."""
    stats = run.data["stats"]
    for number, total in zip(stats.frame.values, stats["sum"].values[:, 0, 0], strict=True):
        assert total == CAMERA.frame(int(number)).values[0, :8, :8].sum(), number
    return [int(number) for number in stats.frame.values]


def held_files() -> list[str]:
    """Return the data files, and what stands for them, that this process has open."""
    found = []
    for one in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{one}")
        except OSError:
            continue  # that of the folder itself
        if ".h5" in target or "memfd" in target:
            found.append(target)
    return found


def main(disk: Path, fault: str, policy: str, per_file: int, mends: bool) -> dict[str, Any]:
    folder = disk / "out"
    folder.mkdir()
    told: dict[str, Any] = {"error": "", "kind": ""}
    pipe = pipeline(folder, per_file, policy)
    faults: dict[str, Callable[[], object]] = {
        "full": lambda: fill(disk),
        "readonly": lambda: turn_readonly(folder),
        "removed": lambda: shutil.rmtree(folder),
    }
    mending: dict[str, Callable[[], object]] = {
        "full": lambda: (disk / "filler").unlink(),
        "readonly": lambda: subprocess.run(["umount", str(folder)], check=True),
        "removed": folder.mkdir,
    }
    steps: list[tuple[int, Callable[[], object]]] = []
    if fault == "first":
        fill(disk)
    elif fault == "master":
        pipe.add("filling", Filling(disk=str(disk)), after="input")
    else:
        steps.append((FAULT_AT, faults[fault]))
        if mends:
            steps.append((MENDED_AT, mending[fault]))
    began: list[float] = []

    def act(status: dict[str, Any]) -> None:
        while steps and status["processed"] >= steps[0][0]:
            began.append(time.monotonic())
            steps.pop(0)[1]()

    with local_client(workers=2, memory_limit="2GiB") as client:
        run = acquisition(client, pipe, NB_FRAMES)
        try:
            with run:
                run.prepare()
                run.start()
                run.wait(told=act, timeout=SECONDS)
        except ld.LimadaskError as error:
            told |= {"error": str(error), "kind": type(error).__name__}
        told["seconds"] = time.monotonic() - began[0] if began else 0
        told["outcome"] = run.state
        if fault != "first":
            told |= {"ledger": fates(run), "stats": statistics(run)}
        told["held"] = [one for held in client.run(held_files).values() for one in held]
        if fault == "readonly" and not mends:
            mending[fault]()
        told |= {"files": saved(folder), "master": master(folder)}
        told["temporary"] = [path.name for path in disk.rglob(".*")]
        for filler in disk.glob("filler*"):
            filler.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        again = acquisition(client, pipeline(folder, per_file, policy), 20)  # it still serves
        with again:
            again.prepare()
            again.start()
            again.wait(timeout=SECONDS)
        told["again"] = saved(folder)["numbers"] == list(range(20))
    lines = (" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True))
    told["processes"] = [one for one in lines if "resource_tracker" not in one]  # Python's own
    return told


if __name__ == "__main__":
    place, *options = sys.argv[1:]
    print(
        json.dumps(main(Path(place), options[0], options[1], int(options[2]), "mends" in options))
    )
