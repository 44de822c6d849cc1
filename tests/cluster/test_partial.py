"""Receivers that each have a part of every frame."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from distributed import Client
from modules import CAMERA, SMALL, partial, with_a_lost_worker

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Assemble, Observe, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]


def pipeline(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble(), after="input")
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 68, 48)]), after="whole")
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="whole")
    pipe.add("live", Observe(history=100), after="whole")
    return pipe


def check_file(
    path: str, lost: dict[int, tuple[slice, ...]] | None = None, count: int = 60
) -> None:
    """Compare all frames with the camera's; ``lost`` are the rows that some have not."""
    with h5py.File(path) as file:
        data, status = file["entry/data/data"][()], file["entry/data/frame_status"][()]
        mask = file["entry/instrument/detector/pixel_mask"][()]
    assert np.array_equal(mask != 0, CAMERA.gaps())
    for number in range(count):
        expected = CAMERA.frame(number).values[0]
        for rows in (lost or {}).get(number, ()):
            expected[rows] = 65535
        assert np.array_equal(data[number], expected), number
        whole = ld.Status.PARTIAL if number in (lost or {}) else ld.Status.PRESENT
        assert status[number] == whole, number


@pytest.mark.parametrize(
    "topology", [partial(3, 3), partial(2, 2), partial(1, 1), partial(2, 1, "separate")], ids=str
)
def test_parts_become_full_frames(run: Run, tmp_path: Path, topology: ld.Topology) -> None:
    acquisition = run(pipeline(tmp_path), CAMERA, nb_frames=60, topology=topology, buffers=SMALL)
    assert acquisition.record().counts()["present"] == 60
    check_file(acquisition.files["file"])
    stats = acquisition.data["stats"]
    valid = ~CAMERA.gaps()
    totals = [int(CAMERA.frame(number).values[0][valid].sum()) for number in range(60)]
    assert stats["frame"].values.tolist() == list(range(60))
    assert stats["sum"].values[:, 0, 0].tolist() == totals
    assert set(stats["count"].values[:, 0, 0].tolist()) == {int(valid.sum())}


def test_what_one_module_loses_is_partial_and_what_all_lose_is_absent(
    run: Run, tmp_path: Path
) -> None:
    faults = {"drop": [0, 7, 8, 20, 21, 22, 23, 24, 59], "corrupt": [30], "receivers": [1]}
    camera = CAMERA.replace(faults=faults)
    acquisition = run(
        pipeline(tmp_path), camera, nb_frames=60, topology=partial(3, 3), buffers=SMALL
    )
    lost = {0, 7, 8, *range(20, 25), 59, 30}
    record = acquisition.record()
    assert record.ranges(ld.Status.ABSENT) == []
    assert record.counts() == {"present": 50, "partial": 10, "absent": 0, "vetoed": 0}
    causes = {one: why for first, last, why in record.ranges(ld.Status.PARTIAL)
              for one in range(first, last + 1)}  # fmt: skip
    assert set(causes) == lost
    assert causes[30] == "decode_error"
    assert {why for one, why in causes.items() if one != 30} == {"detector"}
    rows = slice(24, 44)
    check_file(acquisition.files["file"], dict.fromkeys(lost, (rows,)))
    stats = acquisition.data["stats"]
    assert stats["count"].values[7, 0, 0] == 2 * 20 * 48

    camera = CAMERA.replace(faults={"drop": [3, 4], "corrupt": [50, 51, 52, 53, 54]})
    again = run(pipeline(tmp_path / "all"), camera, nb_frames=60, topology=partial(3, 3),
                buffers=SMALL)  # fmt: skip
    assert again.record().ranges(ld.Status.ABSENT) == [
        (3, 4, "detector"), (50, 54, "decode_error")
    ]  # fmt: skip


def test_repeated_late_and_damaged_parts(run: Run, tmp_path: Path) -> None:
    faults = {"duplicate": [2, 11, 12], "reorder": [5, 14, 33], "lose_packets": [9],
              "receivers": [0]}  # fmt: skip
    camera = CAMERA.replace(faults=faults)
    acquisition = run(
        pipeline(tmp_path), camera, nb_frames=60, topology=partial(2, 2), buffers=SMALL
    )
    record = acquisition.record()
    assert record.ranges(ld.Status.ABSENT) == []
    partial_ones = {first for first, _, _ in record.ranges(ld.Status.PARTIAL)}
    assert 9 in partial_ones
    assert partial_ones <= {9, 14}  # 14 came when its block was gone: only then it is lost


def test_a_stopped_run_without_a_number_of_frames(client: Client, tmp_path: Path) -> None:
    acquisition = ld.Acquisition(
        client, CAMERA, pipeline(tmp_path), nb_frames=0, expo_time=1e-3, topology=partial(3, 3),
        buffers=SMALL,
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        for event in acquisition.events():
            if isinstance(event, ld.FramesDone) and event.count > 50:
                acquisition.stop()
                break
        acquisition.wait(timeout=30)
    counts = acquisition.record().counts()
    assert counts["present"] > 50
    assert counts["absent"] == 0


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("who", ["receivers", "processors"])
def test_a_lost_worker(tmp_path: Path, who: str, sign: signal.Signals) -> None:
    record, files = with_a_lost_worker(pipeline(tmp_path), who, sign)
    counts = record.counts()
    assert counts["absent"] == 0, record.ranges(ld.Status.ABSENT)
    if who == "processors":
        assert counts["present"] == 400
        check_file(files["file"], count=400)
    else:
        assert counts["present"] >= 50
        ranges = record.ranges(ld.Status.PARTIAL)
        assert {why for *_, why in ranges} == {"receiver_lost"}
        gone = {one for first, last, _ in ranges for one in range(first, last + 1)}
        check_file(files["file"], {one: (slice(24, 44),) for one in gone}, 400)


def test_what_cannot_be_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ld.ConfigError, match="has 1 module") as info:
        ld.Acquisition(client, Simulator(), pipeline(tmp_path), topology=partial(2, 2)).prepare()
    assert (info.value.node, info.value.field) == ("topology", "receivers")


def test_roi_and_binning_are_done_on_full_frames(run: Run, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble(), after="input")
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after="whole")
    acquisition = run(
        pipe, CAMERA, nb_frames=10, topology=partial(3, 3), roi=ld.Rect(10, 4, 40, 30), flip="y"
    )
    with h5py.File(acquisition.files["file"]) as file:
        data = file["entry/data/data"][()]
    for number in range(10):
        assert np.array_equal(data[number], CAMERA.frame(number).values[0, 10:50, 4:34][::-1])
