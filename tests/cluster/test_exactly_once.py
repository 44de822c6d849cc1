"""Each full frame is put together, processed and kept exactly once."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from modules import CAMERA, SMALL, partial

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Assemble, SaveHdf5

FRAMES = 60
LOST = {0, 7, 8, *range(20, 25), 30, 59}
ONE_LOSES = {"drop": [0, 7, 8, 20, 21, 22, 23, 24, 59], "corrupt": [30], "receivers": [1]}
ALL_LOSE = {"drop": [3, 4], "corrupt": [50, 51, 52, 53, 54]}


class Noting(ld.Task):
    """Writes down which frames it sees: what clients collect has no frame twice in any case."""

    log: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        with Path(self.log).open("a") as log:
            log.write("".join(f"{number}\n" for number in block["frame"].values))
        return block


class Dying(ld.Sink):
    """Kills its process amid a block, once, after the sinks before it have written."""

    flag: str

    def open(self, spec: ld.Spec, place: ld.Place) -> Any:
        flag = Path(self.flag)

        class Writer:
            def encode(self, frames: ld.Frames) -> Any:
                return frames.numbers.copy()

            def write(self, encoded: list[Any]) -> None:
                if any(numbers[0] > 30 for numbers in encoded):
                    with suppress(FileExistsError):  # another one has died already
                        flag.touch(exist_ok=False)
                        os._exit(1)

            def close(self) -> dict[str, Any]:
                return {}

        return Writer()


def noting(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble())
    pipe.add("noting", Noting(log=str(folder / "log")), after="whole")
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="noting")
    return pipe


def seen(folder: Path) -> Counter[int]:
    """How often each frame came by."""
    return Counter(map(int, (folder / "log").read_text().split()))


def sources(path: str) -> Counter[int]:
    """How many pieces of the data files the master has for each frame."""
    found = Counter[int]()
    with h5py.File(path) as file:
        for space, *_ in file["entry/data/data"].virtual_sources():
            (first, *_), (last, *_) = space.get_select_bounds()
            found.update(range(first, last + 1))
    return found


def saved(folder: Path) -> Counter[int]:
    """How often the data files have each frame."""
    found = Counter[int]()
    for path in folder.glob("run_*_*.h5"):
        with h5py.File(path) as file:
            found.update(file["entry/instrument/detector/frame_number"][()].tolist())
    return found


def once(numbers: set[int]) -> dict[int, int]:
    return dict.fromkeys(numbers, 1)


@pytest.mark.parametrize(
    ("topology", "faults"),
    [
        (partial(3, 3), {}),
        (partial(2, 1, "separate"), {}),
        (partial(3, 3), ONE_LOSES),
        (partial(3, 3), ALL_LOSE),
    ],
    ids=["shared", "separate", "one-loses", "all-lose"],
)
def test_each_frame_is_assembled_exactly_once(
    client: Client, tmp_path: Path, topology: ld.Topology, faults: dict[str, Any]
) -> None:
    camera = Simulator(shape=(68, 48), modules=3, gap=4, faults=faults)
    with ld.Acquisition(
        client, camera, noting(tmp_path), nb_frames=FRAMES, expo_time=1e-3, topology=topology,
        buffers=SMALL,
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    absent = {3, 4, *range(50, 55)} if faults == ALL_LOSE else set[int]()
    there = set(range(FRAMES)) - absent
    assert seen(tmp_path) == once(there)
    assert sources(acquisition.files["file"]) == once(there)
    counts = acquisition.record().counts()
    assert counts["absent"] == len(absent)
    assert counts["partial"] == (len(LOST) if faults == ONE_LOSES else 0)
    assert sum(counts.values()) == FRAMES


def test_a_frame_that_was_saved_twice_is_kept_once(tmp_path: Path) -> None:
    """A worker dies after it has saved a block and before it can say so: another saves it again."""
    pipe = noting(tmp_path)
    pipe.add("dying", Dying(flag=str(tmp_path / "dead")), after="noting")
    with process_cluster(4) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=FRAMES, expo_time=4e-3, buffers=SMALL,
            topology=partial(2, 2, "separate"),
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=60)
        ledger = acquisition.ledger
    everything = set(range(FRAMES))
    twice = {number for number, count in saved(tmp_path).items() if count == 2}
    assert twice, "no frame was saved twice"
    assert {number for number, count in seen(tmp_path).items() if count > 1} >= twice
    assert sources(acquisition.files["file"]) == once(everything)
    assert ledger["frame"].values.tolist() == sorted(everything)
    assert np.all(ledger["status"].values == ld.Status.PRESENT)
    with h5py.File(acquisition.files["file"]) as file:
        images = file["entry/data/data"][()]
    for number, image in enumerate(images):
        assert np.array_equal(image, CAMERA.frame(number).values[0]), number
