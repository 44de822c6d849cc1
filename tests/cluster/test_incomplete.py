"""A detector that drops, swaps, repeats and damages frames: what users find afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Flatfield, Flip, Observe, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
ALL = ld.Rect(0, 0, 64, 48)
BLOCKS = ld.Buffers(nb_frames_per_block=8)
FAULTS = {
    "drop": [0, 30], "corrupt": [10], "overrun": [50, 51], "duplicate": [8, 9],
    "reorder": [5, 15], "lose_packets": [3, 4, 20], "delay": [33], "delay_time": 0.05,
}  # fmt: skip


@ld.veto
def odd(block: xr.DataArray) -> Any:
    """Keep odd frames."""
    return block["frame"] % 2 == 1


@pytest.fixture
def acquired(run: Run, tmp_path: Path) -> tuple[ld.Acquisition, Simulator]:
    camera = Simulator(shape=(64, 48), faults=FAULTS)
    pipe = ld.Pipeline()
    pipe.add("flip", Flip(axis="y"))
    pipe.add("half", Flatfield(np.full((64, 48), 2.0)), after="flip")
    pipe.add("stats", RoiStatistics(rois=[ALL]), after="half")
    pipe.add("all", SaveHdf5(folder=str(tmp_path), prefix="all"))
    pipe.add("hits", odd(), after="half")
    pipe.add("some", SaveHdf5(folder=str(tmp_path), prefix="some"), after="hits")
    pipe.add("live", Observe(history=60), after="flip")
    topology = ld.Topology(workers=2)
    return run(pipe, camera, nb_frames=60, topology=topology, buffers=BLOCKS), camera


def test_every_frame_has_its_fate_and_its_cause(acquired: tuple[ld.Acquisition, Simulator]) -> None:
    record = acquired[0].record()
    assert record.ranges(ld.Status.ABSENT) == [
        (0, 0, "detector"), (10, 10, "decode_error"), (30, 30, "detector"), (50, 51, "overrun")
    ]  # fmt: skip
    assert record.ranges(ld.Status.PARTIAL) == [(3, 3, "packets_lost")]
    vetoed = {first for first, _, cause in record.ranges(ld.Status.VETOED) if cause == "veto:hits"}
    assert vetoed == set(range(0, 60, 2)) - {0, 10, 30, 50}
    assert sum(record.counts().values()) == 60


def test_files_show_the_same_and_the_right_pixels(
    acquired: tuple[ld.Acquisition, Simulator],
) -> None:
    acquisition, camera = acquired
    lost = {0, 10, 30, 50, 51}
    with h5py.File(acquisition.files["all"]) as file:
        data, status = file["entry/data/data"][()], file["entry/data/frame_status"][()]
        cause = file["entry/data/frame_cause"][()]
        validity = file["entry/instrument/detector/validity"]
        lacking = dict(
            zip(validity["frame_number"][()].tolist(), validity["invalid"][()], strict=True)
        )
    assert set(np.flatnonzero(status == ld.Status.ABSENT)) == lost
    assert set(np.flatnonzero(status == ld.Status.PARTIAL)) == set(lacking) == {3, 4, 20}
    assert (cause[[10, 50, 3]] == [b"decode_error", b"overrun", b"packets_lost"]).all()
    for number in range(60):
        if number in lost:
            assert (data[number] == 65535).all()
            continue
        expected = camera.frame(number).values[0]
        missing = (
            lacking[number][0].astype(bool) if number in lacking else np.zeros_like(expected, bool)
        )
        np.testing.assert_array_equal(data[number][~missing], expected[~missing])
        assert (data[number][missing] == 65535).all()
    with h5py.File(acquisition.files["some"]) as file:
        kept = file["entry/data/frame_status"][()] == ld.Status.PRESENT
    assert set(np.flatnonzero(kept)) == set(range(1, 60, 2)) - {3, 51}


def test_statistics_leave_missing_pixels_out_and_say_how_many_were_used(
    acquired: tuple[ld.Acquisition, Simulator],
) -> None:
    acquisition, camera = acquired
    stats = acquisition.data["stats"].isel(band=0, roi=0)
    used = dict(zip(stats["frame"].values.tolist(), stats["count"].values.tolist(), strict=True))
    assert {number for number, count in used.items() if count < 64 * 48} == {3, 4, 20}
    assert set(used) == set(range(60)) - {0, 10, 30, 50, 51}  # vetoed ones are measured too
    seen = acquisition.observe["live"].history().sel(frame=20)
    missing = seen["invalid"].values[0]
    assert missing.sum() == 64 * 48 - used[20]
    expected = camera.frame(20).values[0][::-1][~missing].astype("f8").sum() / 2
    assert float(stats["sum"].sel(frame=20)) == pytest.approx(expected, rel=1e-6)


def test_a_policy_that_allows_none_ends_the_run(client: Client) -> None:
    camera = Simulator(shape=(64, 48), faults={"corrupt": [5]})
    acquisition = ld.Acquisition(
        client, camera, ld.Pipeline(), nb_frames=2000, expo_time=1e-3,
        policy=ld.Policy(on_absent="abort"),
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        with pytest.raises(ld.AcquisitionFailed, match="decode_error"):  # noqa: PT012
            acquisition.start()  # on a busy machine it is over before start is answered
            acquisition.wait(timeout=60)
    counts = acquisition.record().counts()
    assert sum(counts.values()) == 2000
    assert counts["present"] < 2000
    assert {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)} == {
        "decode_error", "stopped",
    }  # fmt: skip
