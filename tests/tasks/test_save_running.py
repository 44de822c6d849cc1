"""Results of a whole run in files, beside the frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import silx.io.nxdata
import xarray as xr
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Crop, Histogram, Mask, Maximum, Mean, MultiTau, SaveHdf5, Variance

BANDS = ["low", "high"]


def pipeline(folder: Path, tasks: dict[str, Any]) -> ld.Pipeline:
    """Every task with a saver, all in one file set with the frames."""
    pipe = ld.Pipeline()
    pipe.add("frames", SaveHdf5(folder=str(folder)))
    for name, task in tasks.items():
        pipe.add(name, task)
        pipe.add(f"{name}_file", SaveHdf5(folder=str(folder), entry=name), after=name)
    return pipe


def test_results_are_merged_over_workers_into_one_master(client: Client, tmp_path: Path) -> None:
    camera = Simulator(shape=(40, 30), bands=BANDS, photons=3.0)
    tasks = {
        "mean": Mean(),
        "variance": Variance(ddof=1),
        "top": Maximum(),
        "counts": Histogram(bins=20, high=40),
    }
    with ld.Acquisition(
        client, camera, pipeline(tmp_path, tasks), nb_frames=90, expo_time=1e-3,
        topology=ld.Topology(receivers=1, workers=3),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
        live = {name: acquisition.data[name] for name in tasks}
        path = acquisition.files["mean_file"]
    truth = np.stack([camera.frame(number).values for number in range(90)])
    with ld.open(path) as tree:
        for name, shown in live.items():
            saved = tree[f"{name}/data"].to_dataset()
            for variable in shown.data_vars:
                np.testing.assert_allclose(saved[variable].values, shown[variable].values)
        assert int(tree["mean/data/frames"]) == 90
        assert np.array_equal(tree["entry/data/images"].values, truth)
    np.testing.assert_allclose(live["mean"]["mean"], truth.mean(axis=0))
    with h5py.File(path) as file:
        plot = silx.io.nxdata.get_default(file["mean"])
        assert plot is not None
        assert plot.signal.shape == (2, 40, 30)
        curve = silx.io.nxdata.get_default(file["counts"])
        assert curve is not None
        assert curve.signal.shape == (2, 20)
    found = xr.open_dataset(path, engine="h5netcdf", group="counts/data")
    assert found["value"].dims == ("bin",)


def test_results_in_order_are_saved(tmp_path: Path) -> None:
    regions = np.zeros((8, 9), "u1")
    regions[2:5] = 3
    pixels = np.random.default_rng(1).poisson(4.0, (40, 1, 8, 9)).astype("u2")
    pipe = pipeline(tmp_path, {"g2": MultiTau(array=regions, channels=4, levels=2)})
    done = ld.process(pixels, pipe)
    with ld.open(done.files["g2_file"]) as tree:
        saved = tree["g2/data"].to_dataset()
        np.testing.assert_allclose(saved["g2"], done["g2"]["g2"])
        assert saved["delay"].values.tolist() == done["g2"]["delay"].values.tolist()


def test_masked_pixels_are_nan_in_files(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), "u1")
    mask[1] = 1
    pipe = ld.Pipeline()
    pipe.add("masked", Mask(mask))
    pipe.add("mean", Mean(), after="masked")
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="mean")
    path = ld.process(np.ones((3, 1, 8, 9), "u2"), pipe).files["file"]
    with ld.open(path) as tree:
        saved = tree["entry/data/mean"].values[0]
    assert np.isnan(saved[1]).all()
    assert (saved[2:] == 1).all()


def test_nothing_but_a_saver_comes_after_a_result(tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("mean", Mean())
    pipe.add("part", Crop(y=0, x=0, height=2, width=2), after="mean")
    with pytest.raises(ld.ConfigError, match="'mean' yields no frames"):
        ld.process(np.ones((3, 1, 8, 9), "u2"), pipe)
