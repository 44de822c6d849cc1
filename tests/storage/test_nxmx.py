"""What a detector tells of itself and of each frame stands at its NXmx place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from distributed import Client

import limadask as ld
from limadask.detector import DetectorInfo, GoniometerAxis
from limadask_detectors import Simulator
from limadask_tasks import Accumulate, SaveHdf5


class Telling(Simulator):
    """A simulated camera on a goniometer, whose thresholds are known."""

    def info(self) -> DetectorInfo:
        omega = GoniometerAxis(name="omega", start=10.0, increment=0.5)
        chi = GoniometerAxis(name="chi", start=45.0, vector=(0.0, 0.0, 1.0))
        thresholds = tuple(4000.0 * (band + 1) for band in range(len(self.bands)))
        return super().info().replace(goniometer=(omega, chi), thresholds=thresholds)


def saved(client: Client, folder: Path, camera: Simulator, **fields: Any) -> str:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), **fields))
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=8, expo_time=1e-3)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    return acquisition.files["file"]


def text(value: Any) -> str:
    return str(value.asstr()[()])


def test_everything_stands_in_its_place(client: Client, tmp_path: Path) -> None:
    camera = Telling(shape=(32, 48), bands=["low", "high"], faults={"drop": [3]})
    master = saved(client, tmp_path, camera)
    with h5py.File(master) as file:
        detector, sample = file["entry/instrument/detector"], file["entry/sample"]
        period = 1e-3
        expected = period * np.arange(8)
        expected[3] = np.nan
        np.testing.assert_allclose(detector["start_time"], expected)
        assert detector["start_time"].attrs["units"] == "s"
        stamps = file["entry/data/timestamp"][()]
        began = np.datetime64(str(detector["start_time"].attrs["start"]).rstrip("Z"), "ns")
        assert abs(int(began.astype(np.int64)) - int(stamps[0])) < 1000
        assert np.isnan(detector["real_time"][3])
        assert detector["real_time"][4] == period
        assert detector["low_channel/threshold_energy"][()] == 4000
        assert detector["high_channel/threshold_energy"][()] == 8000
        assert text(sample["depends_on"]) == "/entry/sample/transformations/omega"
        axes = sample["transformations"]
        np.testing.assert_allclose(axes["omega"], 10 + 0.5 * np.arange(8))
        np.testing.assert_allclose(axes["omega_end"], 10.5 + 0.5 * np.arange(8))
        assert axes["omega"].attrs["depends_on"] == "/entry/sample/transformations/chi"
        assert axes["chi"].attrs["depends_on"] == "."
        np.testing.assert_array_equal(axes["chi"], np.full(8, 45.0))


def test_nxvalidate_finds_no_error(client: Client, tmp_path: Path) -> None:
    for bands in (["one"], ["low", "high"]):
        folder = tmp_path / str(len(bands))
        master = saved(client, folder, Telling(shape=(32, 48), bands=bands))
        validate = Path(sys.executable).with_name("nxvalidate")
        done = subprocess.run(
            [validate, "-a", "NXmx", master], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert "Total number of errors: 0" in done.stdout + done.stderr, done.stdout


def test_sums_have_the_angles_of_all_their_frames_and_no_times_of_single_ones(
    client: Client, tmp_path: Path
) -> None:
    pipe = ld.Pipeline()
    pipe.add("sum", Accumulate(nb_frames=4))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="sum")
    acquisition = ld.Acquisition(client, Telling(shape=(32, 48)), pipe, nb_frames=8)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    with h5py.File(acquisition.files["file"]) as file:
        assert "start_time" not in file["entry/instrument/detector"]
        np.testing.assert_allclose(file["entry/sample/transformations/omega"], [10.0, 12.0])


def test_a_master_made_anew_tells_the_same(client: Client, tmp_path: Path) -> None:
    master = Path(saved(client, tmp_path, Telling(shape=(32, 48))))
    with h5py.File(master) as file:
        before = file["entry/instrument/detector/start_time"][()]
    master.unlink()
    subprocess.run(
        [Path(sys.executable).with_name("limadask"), "recover", "--force", tmp_path], check=True,
        timeout=60, capture_output=True,
    )  # fmt: skip
    with h5py.File(master) as file:
        np.testing.assert_array_equal(file["entry/instrument/detector/start_time"], before)
        assert file["entry/sample/transformations/omega_increment_set"][()] == 0.5
