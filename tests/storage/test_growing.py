"""An acquisition is opened while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from sparse_frames import shown

import limadask as ld
from limadask.frames import Status, unlabelled
from limadask_detectors import Simulator
from limadask_tasks import Densify, RoiStatistics, SaveHdf5, Sparsify

BANDS = ["low", "high"]
FIRST, ALL = 40, 60


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
    with ld.Acquisition(
        client, camera, pipe, nb_frames=ALL, expo_time=0.0, trigger_mode="software",
        nb_frames_per_trigger=FIRST, topology=ld.Topology(receivers=1, workers=2),
        buffers=ld.Buffers(nb_frames_per_block=8),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        events = acquisition.events()
        acquisition.trigger()
        for _ in events:
            if acquisition.statistics()["frames"]["present"] >= FIRST:
                break
        path = acquisition.files["raw"]
        assert not Path(path).exists()
        with ld.open(path) as tree:
            partial = {name: tree[f"{name}/data"].load() for name in ("entry", "stats")}
            sparse = tree["photons/data/images"].compute()
            again = ld.Pipeline()
            again.add("dense", Densify())
            dense = ld.process(tree["photons/data"].to_dataset(), again)["dense"]
        acquisition.trigger()
        acquisition.wait()
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


def test_a_run_that_has_just_begun_has_no_frames(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("raw", SaveHdf5(folder=str(tmp_path)))
    with ld.Acquisition(client, Simulator(shape=(8, 9)), pipe, nb_frames=5) as acquisition:
        acquisition.prepare()
        with ld.open(acquisition.files["raw"]) as tree:
            found: Any = tree["entry/data"].load()
        assert found["images"].shape == (0, 1, 8, 9)
