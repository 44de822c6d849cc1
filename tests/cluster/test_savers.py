"""Savers other than SaveHdf5 on a real cluster: several workers, and one that is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import SaveImages, SaveZarr

CAMERA = Simulator(shape=(64, 48), bands=["4 keV", "8 keV"])
TWO = ld.Topology(receivers=1, workers=2, roles="separate")


def test_several_workers_write_one_zarr_store(
    run: Callable[..., ld.Acquisition], tmp_path: Path
) -> None:
    pipe = ld.Pipeline()
    pipe.add("store", SaveZarr(folder=str(tmp_path), prefix="run", shard=16))
    done = run(pipe, CAMERA, topology=TWO, metadata={"sample": "LaB6"})
    assert done.files["store"] == str(tmp_path / "run.zarr")
    with xr.open_zarr(done.files["store"]) as dataset:
        assert dataset.attrs["metadata"] == {"sample": "LaB6"}
        assert (dataset["frame_status"] == ld.Status.PRESENT).all()
        for number in (0, 17, 39):
            np.testing.assert_array_equal(dataset["images"][number], CAMERA.frame(number))
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


def test_several_workers_write_images_and_one_of_them_the_list(
    run: Callable[..., ld.Acquisition], tmp_path: Path
) -> None:
    pipe = ld.Pipeline()
    pipe.add("images", SaveImages(folder=str(tmp_path), prefix="run"))
    done = run(pipe, CAMERA, topology=TWO, metadata={"sample": "LaB6"})
    listed = json.loads(Path(done.files["images"]).read_text())
    assert [one["status"] for one in listed["frames"]] == ["present"] * 40
    for number in (0, 17, 39):
        for band, expected in enumerate(CAMERA.frame(number)):
            name = listed["frames"][number]["files"][band]
            with fabio.open(str(tmp_path / name)) as file:
                np.testing.assert_array_equal(file.data, expected)
                assert "# metadata.sample LaB6" in file.header["_array_data.header_contents"]
    assert len(list(tmp_path.iterdir())) == 81, "nothing else is left"


def test_all_that_a_killed_worker_had_saved_is_in_the_store(tmp_path: Path) -> None:
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        pipe = ld.Pipeline()
        pipe.add("store", SaveZarr(folder=str(tmp_path), prefix="run"))
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=150, expo_time=5e-3, topology=TWO,
            buffers=ld.Buffers(nb_frames_per_block=5),
        )  # fmt: skip
        killed: list[object] = []
        with acquisition:
            acquisition.prepare()
            software = acquisition.parameters.software
            assert software is not None

            def kill(status: dict[str, Any]) -> None:
                if status["processed"] > 30 and not killed:
                    killed.append(cluster.send(software.processors[1], signal.SIGKILL))

            acquisition.start()
            acquisition.wait(told=kill, timeout=60)
        assert killed
        record = acquisition.record()
        assert record.counts()["present"] == 150  # blocks of the killed one went to the other
    frames = ld.open(acquisition.files["store"])["entry/data"]["images"]
    for number in range(150):
        np.testing.assert_array_equal(frames[number], CAMERA.frame(number), str(number))
