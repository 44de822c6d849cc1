"""A photograph through the whole path: replay, demosaic, file, and other people's viewers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import silx.io
from distributed import Client
from numpy.typing import NDArray
from silx.io.nxdata import NXdata, get_default
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio

import limadask as ld
from limadask.storage import rescue
from limadask_detectors import Replay, Simulator
from limadask_tasks import Crop, Demosaic, Flip, Observe, SaveHdf5

COLOURS = ["red", "green", "blue"]
WINDOW = {"y": 33, "x": 20, "height": 400, "width": 301}


def mosaicked(photograph: NDArray[Any]) -> NDArray[Any]:
    """A photograph as a camera with the pattern ``grbg`` takes it."""
    mosaic = photograph[..., 1].copy()
    mosaic[0::2, 1::2] = photograph[0::2, 1::2, 0]
    mosaic[1::2, 0::2] = photograph[1::2, 0::2, 2]
    return mosaic


@pytest.fixture(scope="module")
def photographed(
    client: Client, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ld.Acquisition, NDArray[Any]]:
    """A photograph, its brightness going down from frame to frame, through a whole acquisition."""
    folder = tmp_path_factory.mktemp("photograph")
    photographs = np.stack([astronaut() // count for count in (1, 2, 3, 4)])
    with h5py.File(folder / "mosaics.h5", "w") as file:
        file["frames"] = np.stack([mosaicked(one) for one in photographs])
    pipe = ld.Pipeline()
    pipe.add("raw", SaveHdf5(folder=str(folder), prefix="raw"))
    pipe.add("cut", Crop(**WINDOW))
    pipe.add("turned", Flip(axis="x"), after="cut")
    pipe.add("rgb", Demosaic(), after="turned")
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="rgb"), after="rgb")
    pipe.add("live", Observe(history=4), after="rgb")
    acquisition = ld.Acquisition(
        client, Replay(path=str(folder / "mosaics.h5"), pattern="grbg"), pipe, nb_frames=5,
        policy=ld.Policy(on_absent="mark"), topology=ld.Topology(workers=2),
        buffers=ld.Buffers(nb_frames_per_block=1),
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    return acquisition, photographs


def seen(photograph: NDArray[Any]) -> NDArray[Any]:
    """What the window shows of a photograph, left to right."""
    y, x = WINDOW["y"], WINDOW["x"]
    return photograph[y : y + WINDOW["height"], x : x + WINDOW["width"]][:, ::-1]


def test_silx_shows_the_photograph_in_colours(photographed: Any) -> None:
    acquisition, photographs = photographed
    with silx.io.open(acquisition.files["file"]) as file:
        colour = NXdata(file["entry/colour"])
        assert colour.is_valid
        assert not colour.issues
        assert colour.interpretation == "rgba-image"
        assert colour.axes_dataset_names == ["frame", "y", "x", "band"]
        assert colour.signal.shape == (5, 400, 301, 3)
        for number, photograph in enumerate(photographs):
            # Malvar's filters have 30 to 40 dB on Kodak's photographs, 34.6 on all of this one
            assert 32 < peak_signal_noise_ratio(seen(photograph), colour.signal[number]) < 60
        assert (colour.signal[4] == 255).all()  # no frame: no value
        assert get_default(file).signal_name == "images"


def test_the_colours_are_those_of_the_bands(photographed: Any) -> None:
    with h5py.File(photographed[0].files["file"]) as file:
        entry = file["entry"]
        assert np.array_equal(
            np.moveaxis(entry["data/images"][()], 1, -1), entry["colour/data"][()]
        )
        assert entry["colour/band"].asstr()[()].tolist() == COLOURS
        assert "pattern" not in entry["data/images"].attrs


def test_the_observed_frame_is_the_saved_one_with_places_on_the_detector(photographed: Any) -> None:
    acquisition, _ = photographed
    frame = acquisition.observe["live"].latest()
    with ld.open(acquisition.files["file"]) as tree:
        saved = tree["entry/data"]["images"].isel(frame=int(frame["frame"])).compute()
    assert np.array_equal(frame, saved)
    assert frame["band"].values.tolist() == COLOURS
    place = {"det_y": 100, "det_x": 50, "method": "nearest"}
    assert np.array_equal(frame.sel(**place), saved.sel(**place))


def test_saved_mosaics_are_opened_and_replayed_as_such(photographed: Any) -> None:
    acquisition, _ = photographed
    pipe = ld.Pipeline()
    pipe.add("rgb", Demosaic())
    with ld.open(acquisition.files["raw"]) as tree:
        again = ld.process(tree, pipe)["rgb"]
    with h5py.File(acquisition.files["file"]) as file:
        whole = again.values[:4, :, 35:431, 22:319][..., ::-1]  # where no edge is near in either
        assert np.array_equal(whole, file["entry/data/images"][:4, :, 2:-2, 2:-2])
    assert Replay(path=acquisition.files["raw"]).info().pattern == "grbg"


@pytest.mark.parametrize(
    ("flip", "roi", "wanted"),
    [("none", None, "rggb"), ("x", None, "grbg"), ("none", ld.Rect(4, 3, 12, 13), "grbg")],
)
def test_the_pattern_of_what_was_cut_and_flipped_is_that_of_the_pixels_in_the_file(
    flip: Any, roi: Any, wanted: str, client: Client, tmp_path: Path
) -> None:
    """A replay takes saved images for those of a detector of its own."""
    camera = Simulator(shape=(20, 24), pattern="rggb")
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    pipe.add("rgb", Demosaic())
    pipe.add("colours", SaveHdf5(folder=str(tmp_path), prefix="rgb"), after="rgb")
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=2, flip=flip, roi=roi)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    assert Replay(path=acquisition.files["file"]).info().pattern == wanted
    again = ld.Pipeline()
    again.add("rgb", Demosaic(pattern=wanted))  # type: ignore[arg-type]
    with (
        h5py.File(acquisition.files["file"]) as file,
        h5py.File(acquisition.files["colours"]) as of,
    ):
        made = ld.process(file["entry/data/data"][()], again)["rgb"]
        assert np.array_equal(made, of["entry/data/images"])
    rescued(tmp_path)


def rescued(folder: Path) -> None:
    """Masters that are made anew tell the same."""
    masters = {path: read(path) for path in folder.glob("*_master.h5")}
    assert len(masters) == 2
    for path in masters:
        path.unlink()
    rescue(folder, force=True)
    assert {path: read(path) for path in masters} == masters


def read(path: Path) -> tuple[Any, bool]:
    with h5py.File(path) as file:
        return file["entry/data/data"].attrs.get("pattern"), "colour" in file["entry"]


def test_binned_frames_are_no_mosaic_any_more(client: Client) -> None:
    """Whoever bins: the detector, or software in front of ``input``."""
    for hardware in (True, False):
        camera = Simulator(shape=(20, 24), pattern="rggb", hardware_binning=hardware)
        pipe = ld.Pipeline()
        pipe.add("rgb", Demosaic())
        acquisition = ld.Acquisition(
            client, camera, pipe, nb_frames=2, binning=ld.Binning(y=2, x=2)
        )
        with pytest.raises(ld.ConfigError, match=r"2×2 of them.*demosaic first"), acquisition:
            acquisition.prepare()
