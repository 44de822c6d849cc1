"""Other people's programs open what we save, with the right default."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
import silx.io
import xarray as xr
from distributed import Client
from h5grove import create_content
from nexusformat.nexus import nxload
from pyFAI.io.nexus import Nexus
from silx.io.nxdata import get_default

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

BANDS = {"one": ("0",), "two": ("4 keV", "8 keV"), "colours": ("red", "green", "blue")}
ABSENT = [0, 1, 30]
MIDDLE = 17


@pytest.fixture(scope="module", params=BANDS)
def saved(
    request: pytest.FixtureRequest, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Simulator]:
    """Save a run over three workers, with gaps; return its master and its camera."""
    folder = tmp_path_factory.mktemp(request.param)
    camera = Simulator(shape=(40, 30), bands=BANDS[request.param], faults={"drop": ABSENT})
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), nb_frames_per_file=7))
    acquisition = ld.Acquisition(
        client, camera, pipe, nb_frames=60, expo_time=1e-3, topology=ld.Topology(workers=3),
        buffers=ld.Buffers(nb_frames_per_block=3), metadata={"sample": "LaB6", "run": 4},
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    return acquisition.files["file"], camera


def middle(camera: Simulator) -> np.ndarray:
    """The pixels of a frame in the middle, as the default signal has them."""
    frame = camera.frame(MIDDLE).values
    return frame if len(camera.bands) > 1 else frame[0]


def test_several_workers_have_written(saved: tuple[str, Simulator]) -> None:
    """Else the master joins nothing, and the others here say little."""
    with h5py.File(saved[0]) as file:
        sources = {one.file_name for one in file["entry/data/data"].virtual_sources()}
    assert len({re.findall(r"_(\d+)_\d+\.h5$", name)[0] for name in sources}) > 1


def test_xarray_opens_the_default_group(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with xr.open_dataset(path, engine="h5netcdf", group="entry/data") as data:
        assert data["data"].dims == ("frame", "y", "x")
        assert np.array_equal(data["data"][MIDDLE], camera.frame(MIDDLE).values[0])
        if len(camera.bands) > 1:
            assert data["images"].dims == ("frame", "band", "y", "x")
            assert data["band"].values.tolist() == list(camera.bands)
            assert np.array_equal(data["images"][MIDDLE], camera.frame(MIDDLE))
        absent = np.flatnonzero(data["frame_status"] == ld.Status.ABSENT)
        assert absent.tolist() == ABSENT
        assert set(data["frame_cause"].values[absent]) == {b"detector"}
        assert (data["data"][ABSENT] == 65535).all()
        assert np.isnat(data["timestamp"].values[ABSENT]).all()
        steps = np.diff(data["timestamp"].values[2:30].astype("i8"))
        assert (steps == 1_000_000).all()


def test_xarray_opens_the_whole_tree(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with xr.open_datatree(path, engine="h5netcdf", phony_dims="access") as tree:
        entry = tree[tree.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert np.array_equal(data[data.attrs["signal"]][MIDDLE], middle(camera))
        assert float(tree["entry/parameters/hardware"]["expo_time"]) == 1e-3
        assert int(tree["entry/metadata"]["run"]) == 4


def test_our_own_reader_places_pixels(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with ld.open(path) as tree:
        frame = tree["entry/data"]["data"].isel(frame=MIDDLE)
        found = frame.sel(det_y=31, det_x=12, method="nearest")
        assert int(found) == int(camera.frame(MIDDLE)[0, 31, 12])


def test_silx_finds_the_default_plot(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with silx.io.open(path) as file:
        default = get_default(file)
        assert default.is_valid
        assert default.signal.shape[-2:] == (40, 30)
        assert default.signal_name == ("images" if len(camera.bands) > 1 else "data")
        assert default.axes_dataset_names[0] == "frame"
        assert np.array_equal(default.signal[MIDDLE], middle(camera))


def test_fabio_reads_a_frame_in_the_middle(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with fabio.open(path) as images:
        assert images.nframes == 60
        assert np.array_equal(images.getframe(MIDDLE).data, camera.frame(MIDDLE).values[0])


def test_fabio_reads_every_band(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    for band, title in enumerate(camera.bands if len(camera.bands) > 1 else ()):
        name = title.replace(" ", "_")
        with fabio.open(f"{path}::/entry/data_{name}/data") as images:
            expected = camera.frame(MIDDLE).values[band]
            assert np.array_equal(images.getframe(MIDDLE).data, expected)


def test_nexusformat_plots_the_default(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    root = nxload(path)
    assert root.get_default().nxname == "data"
    assert np.array_equal(root.entry.data.data[MIDDLE].nxvalue, camera.frame(MIDDLE).values[0])


def test_pyfai_finds_the_detector(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with Nexus(path, "r", pure=True) as file:  # else HDF5 does not know where the file lies
        detector = file.find_detector()
        assert detector.name == "/entry/instrument/detector"
        assert detector["x_pixel_size"][()] == 75e-6
        frame = detector["data"][MIDDLE]
    assert np.array_equal(frame, middle(camera))


def test_h5web_s_server_reads_a_frame_of_the_default_signal(saved: tuple[str, Simulator]) -> None:
    path, camera = saved
    with h5py.File(path) as file:
        place = ""
        for attribute in ("default", "default", "signal"):
            place += "/" + create_content(file, place or "/").attributes()[attribute]
        content = create_content(file, place)
        assert content.metadata()["shape"][-2:] == (40, 30)
        frame = content.data(selection=str(MIDDLE))
    assert np.array_equal(frame, middle(camera))


def test_nxvalidate_finds_no_error(saved: tuple[str, Simulator]) -> None:
    validate = Path(sys.executable).with_name("nxvalidate")
    done = subprocess.run(
        [validate, "-a", "NXmx", saved[0]], capture_output=True, text=True, timeout=120
    )
    assert "Total number of errors: 0" in done.stdout, done.stdout


def test_the_master_holds_all_three_parameter_sets(saved: tuple[str, Simulator]) -> None:
    with h5py.File(saved[0]) as file:
        parameters = file["entry/parameters"]
        assert set(parameters) == {"user", "hardware", "software"}
        assert parameters["user/nb_frames"][()] == 60
        assert parameters["hardware/shape"][()].tolist() == [40, 30]
        assert parameters["software/nodes/0/task"][()] == b"save_hdf5"
        assert b"." in parameters["software/versions/limadask"][()]
        assert len(parameters["software/processors"]) == 3
        assert parameters["software/settings/switch_interval"][()] == 1e-4
        assert file["entry/instrument/detector/detector_information/model"][()]
        assert file["entry/sample/name"][()] == b"LaB6"
        assert file.attrs["creator"].startswith("limadask")
