"""A compiled task on real workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_library import compiled, medians

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Flip, SaveHdf5

FIELDS = {"factor": (float, 3.0), "offset": (float, 10.0)}
remove = ld.native_task("libhot_pixels.so", "remove_hot_pixels", plan="same", parameters=FIELDS)
count = ld.native_task(
    "libhot_pixels.so", "count_hot_pixels", plan={"hot": "i8", "largest": "f8"}, parameters=FIELDS
)


def test_frames_and_by_products_are_those_of_scipy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., ld.Acquisition]
) -> None:
    library = compiled("hot_pixels.cpp", tmp_path)
    monkeypatch.chdir(tmp_path)  # a relative path is taken from here
    camera = Simulator(shape=(64, 48), bands=["low", "high"], photons=5.0)
    pipe = ld.Pipeline()
    pipe.add("turned", Flip(axis="y"))
    pipe.add("clean", remove(), after="turned")
    pipe.add("hot", count(), after="turned")
    pipe.add("left", count(), after="clean")
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="clean"), after="clean")
    acquisition = run(pipe, camera, topology=ld.Topology(workers=3))
    assert acquisition.parameters.software is not None
    nodes = {node.name: node for node in acquisition.parameters.software.nodes}
    told = {"function": "remove_hot_pixels", "library": library, "factor": 3.0, "offset": 10.0}
    assert nodes["clean"].parameters == told
    saved = ld.open(acquisition.files["file"])["entry/data"]["images"].load()
    hot, left = acquisition.data["hot"], acquisition.data["left"]
    assert hot.sizes == {"frame": 40, "band": 2}
    for number in (0, 17, 39):
        frame = camera.frame(number).values[np.newaxis, :, ::-1]
        around = medians(frame)
        is_hot = frame > 3.0 * around + 10.0
        clean = np.where(is_hot, around, frame)
        np.testing.assert_array_equal(saved.sel(frame=number).values, clean[0])
        assert hot["hot"].sel(frame=number).values.tolist() == is_hot.sum((2, 3))[0].tolist()
        is_left = clean > 3.0 * medians(clean) + 10.0
        assert left["hot"].sel(frame=number).values.tolist() == is_left.sum((2, 3))[0].tolist()
    assert (hot["hot"] > 0).all()
