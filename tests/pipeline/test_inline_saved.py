"""``ld.process`` on what was saved: opened, processed and saved again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from strategies import image

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.frames import Frames, Labels, Spec
from limadask.geometry import GridIndex
from limadask.pipeline import inline
from limadask_tasks import Accumulate, Bin, Crop, Flip, Mask, RoiStatistics, SaveHdf5

BANDS = {"one": ("0",), "two": ("4 keV", "8 keV")}
COUNT, SHAPE = 20, (6, 8)
LOST = {3: "overrun", 4: "overrun", 11: "receiver_lost", 19: "stopped"}
THERE = [number for number in range(COUNT) if number not in LOST]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be several blocks, as there would be if frames were large."""
    monkeypatch.setattr(inline, "BLOCK", 3 * SHAPE[0] * SHAPE[1] * 2)


def frames(bands: tuple[str, ...] = ("0",)) -> xr.Dataset:
    """Labelled frames, some of them lost, one partial."""
    plain = Frames.of(image(1, (COUNT, len(bands), *SHAPE), "u2", top=60000))
    plain.timestamps = np.arange(COUNT) * 1000 + 1_700_000_000_000_000_000
    plain.status[7] = ld.Status.PARTIAL
    plain.status[list(LOST)] = ld.Status.ABSENT
    causes = [LOST.get(number, "") for number in range(COUNT)]
    causes[7] = "packets_lost"
    block = Labels(Spec(ld.Grid(SHAPE), np.dtype("u2"), bands))(plain, "images")
    data = block.drop_vars("status").to_dataset()
    return data.assign(frame_status=block["status"], frame_cause=("frame", causes))


def saved(folder: Path, data: Any, *tasks: ld.Task, **fields: Any) -> str:
    """Save what comes out of some tasks; return the master's path."""
    pipe, last = ld.Pipeline(), "input"
    for number, task in enumerate(tasks):
        pipe.add(f"n{number}", task, after=last)
        last = f"n{number}"
    pipe.add("file", SaveHdf5(folder=str(folder), **fields), after=last)
    return ld.process(data, pipe).files["file"]


def opened(tree: xr.DataTree) -> xr.Dataset:
    frames = tree["entry/data"]
    assert isinstance(frames, xr.DataTree)
    return frames.to_dataset()


def node(task: ld.Task) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("it", task)
    return pipe


@pytest.mark.parametrize("bands", BANDS.values(), ids=BANDS)
def test_what_is_saved_is_read_back(tmp_path: Path, bands: tuple[str, ...]) -> None:
    data = frames(bands)
    path = saved(tmp_path, data, nb_frames_per_file=7)
    with ld.open(path) as tree:
        found = opened(tree)
        images = found["images" if len(bands) > 1 else "data"]
        assert images.chunks is not None  # nothing has been read yet
        if len(bands) == 1:
            images = images.expand_dims("band", 1)
        assert images.dims == ("frame", "band", "y", "x")
        np.testing.assert_array_equal(images[THERE], data["images"][THERE])
        assert (images[list(LOST)] == 65535).all()
        np.testing.assert_array_equal(found["frame"], range(COUNT))
        index = images.xindexes["det_y"]
        assert isinstance(index, GridIndex)
        assert index.grid == ld.Grid(SHAPE)
        times = found["timestamp"].values
        np.testing.assert_array_equal(times[THERE], data["timestamp"].values[THERE])
        assert np.isnat(times[list(LOST)]).all()
        if len(bands) > 1:
            assert found["band"].values.tolist() == list(bands)


def test_what_is_saved_can_be_read_by_workers_that_know_nothing_of_us(tmp_path: Path) -> None:
    path = saved(tmp_path, frames())
    with process_cluster(1) as cluster, Client(cluster.address), ld.open(path) as tree:
        sums = opened(tree)["data"][THERE].sum(("y", "x")).values
    np.testing.assert_array_equal(sums, frames()["images"][THERE, 0].sum(("y", "x")))


@pytest.mark.parametrize("bands", BANDS.values(), ids=BANDS)
def test_opened_data_gives_what_the_arrays_give(tmp_path: Path, bands: tuple[str, ...]) -> None:
    data = frames(bands)
    pipe = node(Bin(y=2, x=3, mode="mean"))
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 2, 2)]), after="it")
    expected = ld.process(data, pipe, keep=["it"])
    with ld.open(saved(tmp_path, data)) as tree:
        for again in (tree, tree["entry"], opened(tree)):
            found = ld.process(again, pipe, keep=["it"])
            assert found["it"]["frame"].values.tolist() == THERE
            xr.testing.assert_identical(found["it"].drop_attrs(), expected["it"].drop_attrs())
            xr.testing.assert_identical(found["stats"], expected["stats"])
            assert found.ledger.ranges(ld.Status.ABSENT) == expected.ledger.ranges(ld.Status.ABSENT)


def test_frames_stay_lost_by_their_cause(tmp_path: Path) -> None:
    path = saved(tmp_path, frames())
    for _ in range(2):  # also when it is saved again
        with ld.open(path) as tree:
            found = ld.process(tree, ld.Pipeline())
            saved_ = opened(tree)
            status, cause = saved_["frame_status"].values, saved_["frame_cause"].values
            assert np.flatnonzero(status == ld.Status.ABSENT).tolist() == list(LOST)
            assert [str(cause[number]) for number in LOST] == list(LOST.values())
            path = saved(tmp_path, tree, prefix="again", file_exists_policy="overwrite")
        assert found.ledger.counts() == {"present": 15, "partial": 1, "absent": 4, "vetoed": 0}
        assert found.ledger.ranges(ld.Status.ABSENT) == [
            (3, 4, "overrun"), (11, 11, "receiver_lost"), (19, 19, "stopped")
        ]  # fmt: skip
        assert found.ledger.ranges(ld.Status.PARTIAL) == [(7, 7, "packets_lost")]


def test_lost_frames_count_as_a_fraction_of_those_there_should_be() -> None:
    counted = [number for number, cause in LOST.items() if cause != "stopped"]
    assert len(counted) / COUNT == 0.15
    ld.process(frames(), ld.Pipeline(), policy=ld.Policy(max_absent=0.15))
    with pytest.raises(ld.AcquisitionFailed, match="3 frames are absent"):
        ld.process(frames(), ld.Pipeline(), policy=ld.Policy(max_absent=0.14))


def test_numbers_that_are_left_out_are_absent(tmp_path: Path) -> None:
    data = frames()["images"].isel(frame=[0, 1, 2, 5, 6])
    with ld.open(saved(tmp_path, data)) as tree:
        assert opened(tree)["frame_status"].values.tolist() == [1, 1, 1, 3, 3, 1, 1]
        np.testing.assert_array_equal(opened(tree)["data"][5:], data[3:, 0])


@pytest.mark.parametrize("first", [0, 7, 12])
def test_a_part_keeps_its_numbers_and_loses_nothing(tmp_path: Path, first: int) -> None:
    data = frames()
    pipe = node(Accumulate(nb_frames=4))
    pipe.add("max", RoiStatistics(rois=[ld.Rect(0, 0, *SHAPE)]))
    with ld.open(saved(tmp_path, data)) as tree:
        part = opened(tree).isel(frame=slice(first, first + 6))
        found = ld.process(part, pipe)
    there = [number for number in THERE if first <= number < first + 6]
    assert found["max"]["frame"].values.tolist() == there
    counts = found.ledger.counts()
    assert counts["present"] + counts["partial"] == len(there)
    assert counts["absent"] == 6 - len(there)
    sums = dict.fromkeys(sorted({one // 4 for one in there}), 0)
    for one in there:
        sums[one // 4] += data["images"].values[one].astype("i8")
    assert found["it"]["frame"].values.tolist() == list(sums)
    np.testing.assert_array_equal(found["it"], np.stack(list(sums.values())))


def test_places_on_the_detector_survive(tmp_path: Path) -> None:
    data = image(2, (5, *SHAPE), "u2")
    tasks = Crop(y=1, x=2, height=5, width=6), Flip(axis="y")
    regions = RoiStatistics(rois=[ld.Rect(2, 3, 2, 4)], coordinates="detector")
    with ld.open(saved(tmp_path, data, *tasks)) as tree:
        frames = opened(tree)["data"]
        assert int(frames[3].sel(det_y=2, det_x=3, method="nearest")) == data[3, 2, 3]
        stats = ld.process(tree, node(regions))["it"]
        again = saved(tmp_path, tree, Flip(axis="y"), prefix="again")
    np.testing.assert_array_equal(stats["sum"][:, 0, 0], data[:, 2:4, 3:7].sum((1, 2), dtype="i8"))
    with ld.open(again) as tree:
        np.testing.assert_array_equal(opened(tree)["data"], data[:, 1:6, 2:8])
        assert opened(tree)["det_y"].values[0, 0] == 1


def test_masked_pixels_read_as_the_fill_value(tmp_path: Path) -> None:
    masked = np.zeros(SHAPE, bool)
    masked[1, 2:5] = True
    with ld.open(saved(tmp_path, frames(), Mask(array=masked))) as tree:
        pixels = opened(tree)["data"].values[THERE]
    assert (pixels[:, masked] == 65535).all()
    np.testing.assert_array_equal(
        pixels[:, ~masked], frames()["images"].values[THERE, 0][:, ~masked]
    )


def test_a_saver_in_the_way_is_named_before_anything_is_done(tmp_path: Path) -> None:
    path = saved(tmp_path, frames())
    before = {one: one.stat().st_mtime_ns for one in tmp_path.iterdir()}
    pipe = ld.Pipeline()
    pipe.add("other", SaveHdf5(folder=str(tmp_path / "new")))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    with pytest.raises(ld.ConfigError, match=r"_0_00000.h5|_master.h5") as caught:
        ld.process(frames(), pipe)
    assert (caught.value.node, caught.value.field) == ("file", "file_exists_policy")
    assert {one: one.stat().st_mtime_ns for one in tmp_path.iterdir()} == before
    assert Path(path).is_file()


def test_what_is_no_master_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["image"] = np.zeros(SHAPE)
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["entry/data/data"] = np.zeros(SHAPE)
    h5py.File(tmp_path / "empty.h5", "w").close()
    (tmp_path / "text.h5").write_text("no HDF5")
    part = Path(saved(tmp_path, frames())).with_name("limadask_0_00000.h5")
    for name in ("plain.h5", "group.h5", "empty.h5", "text.h5", "nothing.h5", ".", part.name):
        with pytest.raises(ld.ConfigError, match="no master file of limadask") as caught:
            ld.open(tmp_path / name)
        assert (caught.value.field, caught.value.value) == ("path", str(tmp_path / name))
