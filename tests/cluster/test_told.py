"""What is told of frames while a run goes on, and what is written down of them at its end."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.link import Link
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Failing, RoiStatistics, SaveHdf5

BLOCKS = ld.Buffers(nb_frames_per_block=5)
SHAPE = (64, 48)


class Dying(ld.Sink):
    """Ends the first worker's process amid a block, after the sinks before it have written."""

    since: int
    last_word: str
    """Where it writes the frames of that block."""

    def open(self, spec: ld.Spec, place: ld.Place) -> Any:
        since, last_word = self.since, Path(self.last_word)

        class Writer:
            def encode(self, frames: ld.Frames) -> Any:
                return frames.numbers.tolist()

            def write(self, encoded: list[Any]) -> None:
                numbers = [number for part in encoded for number in part]
                if place.rank == 0 and numbers[0] >= since:
                    last_word.write_text(" ".join(map(str, numbers)))
                    os._exit(1)

            def close(self) -> dict[str, Any]:
                return {}

        return Writer()


@ld.veto
def multiples(block: xr.DataArray) -> Any:
    """Refuse every 10th frame."""
    return block["frame"] % 10 != 0


def master(acquisition: ld.Acquisition, node: str) -> tuple[list[int], list[str]]:
    """Return status and cause of each frame in a master file."""
    with h5py.File(acquisition.files[node]) as file:
        data = file["entry/data"]
        return data["frame_status"][()].tolist(), data["frame_cause"].asstr()[()].tolist()


@pytest.fixture
def watched(client: Client, tmp_path: Path) -> tuple[ld.Acquisition, list[Any]]:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    pipe.add("bad", Failing(frames=[31]), after="input")
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after="bad")
    pipe.add("hits", multiples(), after="bad")
    pipe.add("some", SaveHdf5(folder=str(tmp_path), prefix="some"), after="hits")
    camera = Simulator(shape=SHAPE, faults={"lose_packets": [72, 73, 75], "drop": [7]})
    with ld.Acquisition(
        client, camera, pipe, nb_frames=100, expo_time=2e-3, buffers=BLOCKS
    ) as acquisition:
        acquisition.prepare()
        events = acquisition.events(saved=True)
        acquisition.start()
        told = list(events)
    return acquisition, told


def failed_frames(acquisition: ld.Acquisition) -> set[int]:
    """Return the frames of the block that a task has raised for."""
    (failed,) = acquisition.record().failures
    assert failed.first <= 31 <= failed.last
    return set(range(failed.first, failed.last + 1))


def numbers_of(events: list[Any]) -> set[int]:
    """Return the frames that events with ranges tell of."""
    return {
        number
        for event in events
        for first, last in event.ranges
        for number in range(first, last + 1)
    }


def test_only_what_is_in_all_files_is_told_safe(
    watched: tuple[ld.Acquisition, list[Any]],
) -> None:
    acquisition, events = watched
    saved = {
        number
        for event in events
        if isinstance(event, ld.FramesSaved)
        for number in range(event.first, event.last + 1)
    }
    for node in ("file", "some"):
        status, _ = master(acquisition, node)
        kept = {number for number, one in enumerate(status) if one in (1, 2)}
        assert saved <= kept
    assert saved == set(range(100)) - {7} - failed_frames(acquisition) - set(range(0, 100, 10))


def test_every_frame_that_is_not_present_is_told(
    watched: tuple[ld.Acquisition, list[Any]],
) -> None:
    acquisition, events = watched
    partial = [one for one in events if isinstance(one, ld.FramesPartial)]
    lacking = numbers_of([one for one in partial if one.cause == "packets_lost"])
    assert lacking == {72, 73, 75}
    failed = failed_frames(acquisition)
    assert numbers_of([one for one in partial if one.cause == "task_error:bad"]) == failed
    vetoed = [one for one in events if isinstance(one, ld.FramesVetoed)]
    assert {one.cause for one in vetoed} == {"veto:hits"}
    assert numbers_of(vetoed) == set(range(0, 100, 10)) - failed
    absent = [(one.first, one.last) for one in events if isinstance(one, ld.FramesAbsent)]
    assert absent == [(7, 7)]
    assert acquisition.record().counts() == {
        "present": 100 - 1 - len(lacking | failed | numbers_of(vetoed)),
        "partial": len(lacking | failed),
        "absent": 1,
        "vetoed": len(numbers_of(vetoed)),
    }


def test_what_a_task_raised_is_in_the_ledger_and_in_the_files(
    watched: tuple[ld.Acquisition, list[Any]],
) -> None:
    acquisition, _ = watched
    (failed,) = acquisition.record().failures
    assert failed.node == "bad"
    assert 30 <= failed.first <= 31 <= failed.last <= 34
    assert "31" in failed.text
    assert acquisition.ledger.attrs["failures"] == [str(failed)]
    with h5py.File(acquisition.files["file"]) as file:
        failures = file["entry/process/failures"]
        assert failures["node"].asstr()[()].tolist() == ["bad"]
        assert failures["text"].asstr()[()].tolist() == [failed.text]
        assert (failures["first"][0], failures["last"][0]) == (failed.first, failed.last)


def test_files_win_over_the_ledger(tmp_path: Path) -> None:
    """The receiver's worker dies after it has saved a block and before it could say so."""
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    pipe.add("dying", Dying(since=20, last_word=str(tmp_path / "word")), after="input")
    lacking = set(range(2, 40, 5))
    camera = Simulator(shape=SHAPE, faults={"lose_packets": sorted(lacking)})
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, camera, pipe, nb_frames=40, expo_time=2e-3, buffers=BLOCKS,
            topology=ld.Topology(workers=2),
        )  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
        ledger = acquisition.ledger
    status, cause = master(acquisition, "file")
    assert status == [int(one) for one in ledger.status.values]
    assert cause == ledger.cause.values.tolist()
    saved = [int(number) for number in (tmp_path / "word").read_text().split()]
    assert len(lacking.intersection(saved)) == 1
    with h5py.File(acquisition.files["file"]) as file:
        for number in saved:
            if number in lacking:
                assert (status[number], cause[number]) == (ld.Status.PARTIAL, "packets_lost")
                continue
            assert status[number] == ld.Status.PRESENT
            expected = camera.frame(number).values[0]
            assert np.array_equal(file["entry/data/data"][number], expected)
    for number, fate in enumerate(status):
        assert fate == ld.Status.PRESENT or cause[number], number


def test_a_client_remembers_no_acquisition_that_nobody_listens_to(client: Client) -> None:
    listener = Link.of(client).listen("some", "others")

    def known() -> set[str]:
        gc.collect()
        return {uuid for one in Link.of(client)._listeners for uuid in one.uuids}

    assert {"some", "others"} <= known()
    link, sizes = vars(Link.of(client)), sys.getsizeof
    before = {name: sizes(value) for name, value in link.items()}
    for number in range(1000):
        Link.of(client).listen(f"over-{number}")
    assert not any(one.startswith("over") for one in known())
    assert {name: sizes(value) for name, value in link.items()} == before
    del listener
    assert not {"some", "others"} & known()
