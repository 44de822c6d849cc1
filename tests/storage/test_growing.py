"""An acquisition is opened while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from sparse_frames import shown

import limadask as ld
from limadask.frames import Status, unlabelled
from limadask_detectors import Simulator
from limadask_tasks import Densify, FindPeaks, RoiStatistics, SaveHdf5, Sparsify

BANDS = ["low", "high"]
FIRST, ALL = 40, 60


@contextmanager
def half_way(
    client: Client, camera: Simulator, pipe: ld.Pipeline, per_block: int, present: int
) -> Iterator[ld.Acquisition]:
    """A run whose first frames are there; it goes on to its end afterwards."""
    with ld.Acquisition(
        client, camera, pipe, nb_frames=ALL, expo_time=0.0, trigger_mode="software",
        nb_frames_per_trigger=FIRST, topology=ld.Topology(receivers=1, workers=2),
        buffers=ld.Buffers(nb_frames_per_block=per_block),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        events = acquisition.events()
        acquisition.trigger()
        for _ in events:
            if acquisition.statistics()["frames"]["present"] >= present:
                break
        yield acquisition
        acquisition.trigger()
        acquisition.wait()


def test_what_is_there_by_now_is_what_the_master_has_in_the_end(
    client: Client, tmp_path: Path
) -> None:
    camera = Simulator(shape=(32, 24), bands=BANDS, photons=0.2)
    pipe = ld.Pipeline()
    pipe.add("photons", Sparsify())
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(2, 3, 8, 9)]))
    pipe.add("raw", SaveHdf5(folder=str(tmp_path), nb_frames_per_file=15))
    for entry in ("photons", "stats"):
        saver = SaveHdf5(folder=str(tmp_path), entry=entry, nb_frames_per_file=15)
        pipe.add(f"{entry}_file", saver, after=entry)
    with half_way(client, camera, pipe, per_block=8, present=FIRST) as acquisition:
        path = acquisition.files["raw"]
        assert not Path(path).exists()
        with ld.open(path) as tree:
            partial = {name: tree[f"{name}/data"].load() for name in ("entry", "stats")}
            sparse = tree["photons/data/images"].compute()
            again = ld.Pipeline()
            again.add("dense", Densify())
            dense = ld.process(tree["photons/data"].to_dataset(), again)["dense"]
    whole = acquisition.data["stats"]
    truth = np.stack([camera.frame(number).values for number in range(ALL)])
    frames = partial["entry"].to_dataset()
    there = frames["frame_status"].values == Status.PRESENT
    assert there[:FIRST].all()
    assert np.array_equal(frames["images"].values[there], truth[: len(there)][there])
    kept = unlabelled(sparse).sparse
    assert kept is not None
    assert np.array_equal(shown(kept.array)[:FIRST], truth[:FIRST])
    assert np.array_equal(dense.values, truth[dense["frame"].values])
    stats = partial["stats"].to_dataset()
    np.testing.assert_array_equal(stats["sum"][:FIRST], whole["sum"][:FIRST])
    assert "det_y" in frames.coords
    with ld.open(path) as tree:
        assert np.array_equal(tree["entry/data/images"].values, truth)


def test_tables_causes_and_names_are_those_of_the_master(client: Client, tmp_path: Path) -> None:
    camera = Simulator(shape=(64, 48), photons=2.0, faults={"drop": [3, 17]})
    pipe = ld.Pipeline()
    pipe.add("raw", SaveHdf5(folder=str(tmp_path), nb_frames_per_file=9))
    pipe.add("peaks", FindPeaks(threshold=1.0), after="input")
    table = SaveHdf5(folder=str(tmp_path), entry="peaks", nb_frames_per_file=9)
    pipe.add("table", table, after="peaks")
    with half_way(client, camera, pipe, per_block=4, present=FIRST - 2) as acquisition:
        path = acquisition.files["raw"]
        with ld.open(path) as tree:
            frames = tree["entry/data"].to_dataset().load()
            peaks = tree["peaks/data"].to_dataset().load()
    with ld.open(path) as tree:
        whole, rows = (tree[f"{one}/data"].to_dataset().load() for one in ("entry", "peaks"))
    assert np.array_equal(frames["data"][:FIRST], whole["data"][:FIRST])
    assert set(frames["data"].dims) == set(whole["data"].dims)
    assert peaks["frame_status"].values[17] in (Status.PENDING, Status.ABSENT)
    (dim,) = {one.dims[0] for one in rows.values()} - {"frame"}
    counted = next(name for name, one in rows.items() if "sample_dimension" in one.attrs)
    assert peaks[counted].attrs["sample_dimension"] == dim
    count = int(rows[counted][:FIRST].sum())
    assert count > FIRST
    for name in (one for one in rows if rows[one].dims[0] == dim):
        np.testing.assert_array_equal(peaks[name][:count], rows[name][:count])


def test_a_run_that_has_just_begun_has_no_frames(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("raw", SaveHdf5(folder=str(tmp_path)))
    with ld.Acquisition(client, Simulator(shape=(8, 9)), pipe, nb_frames=5) as acquisition:
        acquisition.prepare()
        with ld.open(acquisition.files["raw"]) as tree:
            found: Any = tree["entry/data"].load()
        assert found["data"].shape == (0, 8, 9)
