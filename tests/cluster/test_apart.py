"""Receivers that each have a part of every frame, processed and saved apart."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client
from modules import CAMERA, SMALL, partial, with_a_lost_worker

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.storage import rescue
from limadask_tasks import Assemble, Bin, Crop, Flatfield, Mask, Observe, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
ROWS = (slice(0, 20), slice(24, 44), slice(48, 68))


def saver(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"))
    return pipe


def check(path: str, lost: dict[int, tuple[slice, ...]] | None = None, count: int = 60) -> None:
    """Compare all frames with the camera's; ``lost`` are the rows that some have not."""
    lost = lost or {}
    images = ld.open(path)["entry/data/data"].values
    assert len(images) == count
    for number in range(count):
        expected = CAMERA.frame(number).values[0]
        for rows in lost.get(number, ()):
            expected[rows] = 65535
        assert np.array_equal(images[number], expected), number
    with h5py.File(path) as file:
        status = file["entry/data/frame_status"][()]
        mask = file["entry/instrument/detector/pixel_mask"][()]
        assert np.array_equal(mask != 0, CAMERA.gaps())
        for number in range(count):
            rows = lost.get(number, ())
            fate = ld.Status.PARTIAL if rows else ld.Status.PRESENT
            assert status[number] == (ld.Status.ABSENT if len(rows) == 3 else fate), number
        lacking = [number for number, rows in sorted(lost.items()) if len(rows) < 3]
        if lacking:
            validity = file["entry/instrument/detector/validity"]
            assert validity["frame_number"][()].tolist() == lacking
            for row, number in enumerate(lacking):
                wanted = np.zeros((68, 48), bool)
                for rows in lost[number]:
                    wanted[rows] = True
                assert np.array_equal(validity["invalid"][row, 0] != 0, wanted), number


@pytest.mark.parametrize(
    "topology",
    [partial(3, 3), partial(2, 2), partial(1, 1), partial(2, 1, "separate"), partial(2, 3)],
    ids=lambda one: f"{one.receivers}-{one.workers}-{one.roles}",
)
def test_parts_are_saved_apart_and_read_as_full_frames(
    run: Run, tmp_path: Path, topology: ld.Topology
) -> None:
    acquisition = run(saver(tmp_path), CAMERA, nb_frames=60, topology=topology, buffers=SMALL)
    assert acquisition.record().counts()["present"] == 60
    check(acquisition.files["file"])
    ledger = acquisition.ledger
    names = set(ledger["receiver"].values.tolist())
    assert len(names) == 1
    assert len(names.pop().split(", ")) == topology.receivers
    assert not np.isnat(ledger["timestamp"].values).any()


def test_data_stays_where_it_is(run: Run, tmp_path: Path) -> None:
    acquisition = run(saver(tmp_path), CAMERA, nb_frames=60, topology=partial(3, 3), buffers=SMALL)
    check(acquisition.files["file"])
    for rank in range(3):
        with h5py.File(tmp_path / f"run_{rank}_00000.h5") as file:
            data = file["entry/data/data"]
            assert data.shape == (60, 20, 48)
            row = file["entry/instrument/detector/frame_number"][()].tolist().index(7)
            assert np.array_equal(data[row], CAMERA.frame(7).values[0, ROWS[rank]])


@pytest.mark.parametrize(
    "topology", [partial(2, 2), partial(2, 3)], ids=lambda one: f"{one.receivers}-{one.workers}"
)
def test_two_entries_of_one_file_set(run: Run, tmp_path: Path, topology: ld.Topology) -> None:
    pipe = saver(tmp_path)
    pipe.add("masked", Mask(CAMERA.gaps()))
    pipe.add("flat", Flatfield(np.full((68, 48), 2.0)), after="masked")
    corrected = SaveHdf5(folder=str(tmp_path), prefix="run", entry="flat")
    pipe.add("corrected", corrected, after="flat")
    acquisition = run(pipe, CAMERA, nb_frames=60, topology=topology, buffers=SMALL)
    assert acquisition.files["file"] == acquisition.files["corrected"]
    check(acquisition.files["file"])
    found = ld.open(acquisition.files["file"])["flat/data/data"].values
    for number in range(60):
        expected = np.where(CAMERA.gaps(), np.nan, CAMERA.frame(number).values[0] / 2)
        np.testing.assert_allclose(found[number], expected, rtol=1e-6)


@pytest.mark.parametrize("is_turned", [False, True])
def test_corrections_are_cut_to_the_parts(run: Run, tmp_path: Path, is_turned: bool) -> None:
    random = np.random.default_rng(3)
    mask, flat = random.random((68, 48)) < 0.05, random.uniform(0.5, 2, (68, 48))
    fields: dict[str, Any] = {"nb_frames": 20, "buffers": SMALL}
    crop = Crop(y=6, x=3, height=57, width=40)
    if is_turned:
        fields |= {"roi": ld.Rect(2, 2, 66, 44), "flip": "y", "rotation": 90}
        mask, flat = (np.rot90(one[2:68, 2:46][::-1]) for one in (mask, flat))
        crop = Crop(y=1, x=4, height=40, width=60)

    def saved(folder: str, **more: Any) -> Any:
        pipe = ld.Pipeline()
        pipe.add("mask", Mask(mask.astype("u1")))
        pipe.add("flat", Flatfield(flat, normalize=True), after="mask")
        pipe.add("part", crop, after="flat")
        pipe.add("file", SaveHdf5(folder=str(tmp_path / folder), prefix="run"), after="part")
        acquisition = run(pipe, CAMERA, **fields, **more)
        return ld.open(acquisition.files["file"])["entry/data/data"]

    apart = saved("apart", topology=partial(3, 3))
    together = saved("together", topology=partial(1, 1))
    assert apart.shape == (20, crop.height, crop.width)
    assert np.array_equal(apart.values, together.values, equal_nan=True)
    assert np.array_equal(apart["det_y"].values, together["det_y"].values)
    full = saved("full").where(~np.isnan(apart.values))  # normalized with its gaps
    ratio = float((apart / full).mean())
    assert np.allclose(apart.values, full.values * ratio, equal_nan=True)
    assert np.isnan(apart.values[0]).mean() < 0.25


def test_what_parts_lose(run: Run, tmp_path: Path) -> None:
    faults = {"drop": [0, 7, 8, 20, 21, 22, 23, 24, 59], "corrupt": [30], "receivers": [1]}
    acquisition = run(
        saver(tmp_path), CAMERA.replace(faults=faults), nb_frames=60, topology=partial(3, 3),
        buffers=SMALL,
    )  # fmt: skip
    lost = [0, 7, 8, *range(20, 25), 30, 59]
    record = acquisition.record()
    assert record.counts() == {"present": 50, "partial": 10, "absent": 0, "vetoed": 0}
    causes = {one: why for first, last, why in record.ranges(ld.Status.PARTIAL)
              for one in range(first, last + 1)}  # fmt: skip
    assert sorted(causes) == lost
    assert causes[30] == "decode_error"
    check(acquisition.files["file"], dict.fromkeys(lost, (ROWS[1],)))

    camera = CAMERA.replace(faults={"drop": [3, 4], "corrupt": [50, 51, 52, 53, 54]})
    again = run(
        saver(tmp_path / "all"), camera, nb_frames=60, topology=partial(3, 3), buffers=SMALL
    )
    assert again.record().ranges(ld.Status.ABSENT) == [
        (3, 4, "detector"), (50, 54, "decode_error")
    ]  # fmt: skip
    check(again.files["file"], dict.fromkeys([3, 4, *range(50, 55)], ROWS))


def test_repeated_and_late_parts_are_taken_and_lost_packets_told(run: Run, tmp_path: Path) -> None:
    faults = {"duplicate": [2, 11, 12], "reorder": [5, 14, 33], "lose_packets": [9],
              "receivers": [0]}  # fmt: skip
    acquisition = run(
        saver(tmp_path), CAMERA.replace(faults=faults), nb_frames=60, topology=partial(2, 2),
        buffers=SMALL,
    )  # fmt: skip
    record = acquisition.record()
    assert record.counts() == {"present": 59, "partial": 1, "absent": 0, "vetoed": 0}
    assert [(first, last) for first, last, _ in record.ranges(ld.Status.PARTIAL)] == [(9, 9)]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("who", ["receivers", "processors"])
def test_a_lost_worker(tmp_path: Path, who: str, sign: signal.Signals) -> None:
    record, files = with_a_lost_worker(saver(tmp_path), who, sign)
    counts = record.counts()
    assert counts["absent"] == 0, record.ranges(ld.Status.ABSENT)
    if who == "processors":
        assert counts["present"] == 400
        check(files["file"], count=400)
    else:
        assert counts["present"] >= 50
        ranges = record.ranges(ld.Status.PARTIAL)
        assert {why for *_, why in ranges} == {"receiver_lost"}
        gone = {one for first, last, _ in ranges for one in range(first, last + 1)}
        check(files["file"], dict.fromkeys(gone, (ROWS[1],)), 400)


def test_what_was_safe_is_recovered_when_all_workers_die(tmp_path: Path) -> None:
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, saver(tmp_path), nb_frames=100_000, expo_time=2e-3,
            topology=partial(3, 3), buffers=SMALL,
        )  # fmt: skip
        safe: set[int] = set()
        with acquisition:
            acquisition.prepare()
            names = [str(one) for one in acquisition.parameters.software.receivers]
            events = acquisition.events(saved=True)
            acquisition.start()
            for event in events:
                if isinstance(event, ld.FramesSaved):
                    safe.update(range(event.first, event.last + 1))
                if len(safe) > 100:
                    break
            for name in names:
                cluster.send(name, signal.SIGKILL)
            with pytest.raises(ld.AcquisitionFailed):
                acquisition.wait(timeout=60)
    (made,) = rescue(tmp_path, force=True).made
    with h5py.File(made.path) as file:
        data = file["entry/data/data"]
        status = file["entry/data/frame_status"][()]
        assert data.shape[1:] == (68, 48)
        assert np.array_equal(file["entry/instrument/detector/pixel_mask"][()] != 0, CAMERA.gaps())
        assert set(np.flatnonzero(status == ld.Status.PRESENT).tolist()) >= safe
        for number in sorted(safe)[::7]:
            assert np.array_equal(data[number], CAMERA.frame(number).values[0])
        for number in np.flatnonzero(status == ld.Status.PARTIAL).tolist():
            right = data[number] == CAMERA.frame(number).values[0]
            assert {bool(right[rows].all()) for rows in ROWS} == {True, False}


@pytest.mark.parametrize("assembled", [False, True])
def test_abort_at_the_first_part_that_is_lost(tmp_path: Path, assembled: bool) -> None:
    pipe = saver(tmp_path)
    if assembled:
        pipe.add("whole", Assemble())
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=100_000, expo_time=5e-3, topology=partial(3, 3),
            buffers=SMALL, policy=ld.Policy(on_absent="abort"),
        )  # fmt: skip
        killed: list[object] = []

        def told(status: dict[str, Any]) -> None:
            if status["processed"] > 20 and not killed:
                killed.append(cluster.send(name, signal.SIGKILL))

        with acquisition:
            acquisition.prepare()
            name = str(acquisition.parameters.software.receivers[1])
            acquisition.start()
            with pytest.raises(ld.AcquisitionFailed, match="a part of every frame"):
                acquisition.wait(told=told, timeout=60)
        assert acquisition.record().counts()["present"] >= 20


def test_deferred_parts(client: Client, tmp_path: Path) -> None:
    with ld.Batch(client, processing="deferred") as batch:
        acquisition = ld.Acquisition(
            client, CAMERA, saver(tmp_path), nb_frames=60, expo_time=1e-3, topology=partial(3, 3),
            buffers=SMALL,
        )  # fmt: skip
        batch.add(acquisition)
        batch.start()
        batch.wait(timeout=60)
    assert acquisition.record().counts()["present"] == 60
    check(acquisition.files["file"])


@pytest.mark.parametrize("fuse", [True, False])
def test_nodes_as_tasks_of_their_own(client: Client, tmp_path: Path, fuse: bool) -> None:
    acquisition = ld.Acquisition(
        client, CAMERA, saver(tmp_path), nb_frames=60, expo_time=1e-3, topology=partial(2, 2),
        buffers=SMALL, fuse=fuse,
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    check(acquisition.files["file"])


def test_what_needs_full_frames_is_refused(client: Client, tmp_path: Path) -> None:
    def refused(pipe: ld.Pipeline, **fields: Any) -> ld.ConfigError:
        with pytest.raises(ld.ConfigError) as info:
            ld.Acquisition(client, CAMERA, pipe, topology=partial(3, 3), **fields).prepare()
        return info.value

    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 68, 48)]))
    error = refused(pipe)
    assert error.node == "stats"
    assert "roi_statistics needs full frames" in str(error)
    pipe = ld.Pipeline()
    pipe.add("live", Observe())
    assert refused(pipe).node == "live"
    pipe = ld.Pipeline()
    pipe.add("part", Crop(y=0, x=0, height=30, width=48))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="part")
    error = refused(pipe)
    assert (error.node, error.field) == ("part", "y")
    assert "takes no pixel of a part" in str(error)
    error = refused(saver(tmp_path), binning=ld.Binning(y=5, x=1))
    assert "does not lie on pixels" in str(error)
    pipe = ld.Pipeline()
    pipe.add("bin", Bin(y=8, mode="mean"))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="bin")
    error = refused(pipe)  # means over a module's edge are of one part alone
    assert error.node == "file"
    assert "in no part, and not masked" in str(error)
    assert not list(tmp_path.iterdir())
