"""Sparse frames in files, held against the frames and against other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from distributed import Client
from numpy.typing import NDArray
from sparse_frames import shown, sparse_of

import limadask as ld
from limadask.frames import Frames, SparsePixels, Status
from limadask.storage import by_frame, rescue
from limadask.storage.sparse_entry import by_image
from limadask_detectors import Simulator
from limadask_tasks import Densify, Mask, SaveHdf5, Sparsify

BANDS = ("low", "high")


def saved(folder: Path, data: Any, mask: Any = None, **fields: Any) -> str:
    """The master file of frames that were made sparse."""
    pipe = ld.Pipeline()
    before = "input"
    if mask is not None:
        pipe.add("masked", Mask(mask))
        before = "masked"
    pipe.add("photons", Sparsify(), after=before)
    pipe.add("file", SaveHdf5(folder=str(folder), **fields), after="photons")
    return ld.process(data, pipe).files["file"]


def counts(count: int, bands: int = 1, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return random.poisson(0.05, (count, bands, 20, 30)).astype("u2")


def labelled(pixels: NDArray[Any], numbers: Any = None) -> xr.DataArray:
    bands = list(BANDS[: pixels.shape[1]])
    numbers = np.arange(len(pixels)) if numbers is None else numbers
    dims = ("frame", "band", "y", "x")
    return xr.DataArray(pixels, {"frame": numbers, "band": bands}, dims)


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("compression", ["bshuf_lz4", "none"])
def test_what_is_saved_is_opened_again(tmp_path: Path, bands: int, compression: str) -> None:
    pixels = counts(11, bands)
    numbers = [0, 1, 2, 3, 5, 6, 7, 10, 11, 12, 14]
    path = saved(tmp_path, labelled(pixels, numbers), compression=compression, nb_frames_per_file=4)
    with ld.open(path) as tree:
        found = tree["entry/data"].to_dataset()
        assert found["images"].dims == ("frame", "band", "y", "x")
        assert found["images"].sizes["frame"] == 15
        assert found["band"].values.tolist() == list(BANDS[:bands])
        whole = np.zeros((15, *pixels.shape[1:]), "u2")
        whole[numbers] = pixels
        assert np.array_equal(shown(found["images"].isel(frame=slice(0, 15)).compute().data), whole)
        absent = found["frame_status"].values == Status.ABSENT
        assert np.flatnonzero(absent).tolist() == [4, 8, 9, 13]
        assert "det_y" in found.coords
        pipe = ld.Pipeline()
        pipe.add("dense", Densify())
        again = ld.process(tree, pipe)["dense"]
        assert again["frame"].values.tolist() == numbers
        assert np.array_equal(again.values, pixels)


def test_fabio_and_scipy_read_it(tmp_path: Path) -> None:
    pixels = counts(9)
    mask = np.zeros((20, 30), "u1")
    mask[3, 4:9] = 1
    path = saved(tmp_path, pixels, mask, nb_frames_per_file=4)
    with fabio.open(path) as image:
        assert type(image).__name__ == "SparseImage"
        assert image.nframes == 9
        for number in range(9):
            expected = np.where(mask, 65535, pixels[number, 0])
            assert np.array_equal(image.getframe(number).data, expected)
    with h5py.File(path) as file:
        group = file["entry/sparse_frames"]
        rows = scipy.sparse.csr_array(
            (group["intensity"][()], group["index"][()], group["frame_ptr"][()]), shape=(9, 600)
        )
        kept = np.where(mask, 0, pixels[:, 0])
        assert np.array_equal(rows.toarray().reshape(9, 20, 30), kept)
        assert group["count"][()].tolist() == np.count_nonzero(kept, axis=(1, 2)).tolist()


def test_a_run_without_photons_is_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path, np.zeros((3, 1, 20, 30), "u2"))
    with ld.open(path) as tree:
        assert not shown(tree["entry/data/images"].compute().data).any()
    with h5py.File(path) as file:
        assert file["entry/sparse_frames/frame_ptr"][()].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("bands", [1, 3])
def test_numbers_within_frames_and_within_images_say_the_same(bands: int) -> None:
    pixels = sparse_of(counts(5, bands))
    per_frame, index = by_frame(pixels)
    pointers, back = by_image(index, per_frame, bands, 600)
    assert pointers.tolist() == pixels.pointers.tolist()
    assert back.tolist() == pixels.index.tolist()


def test_a_master_is_made_of_the_data_files_alone(tmp_path: Path) -> None:
    pixels = counts(7)
    path = Path(saved(tmp_path, pixels, nb_frames_per_file=3))
    path.unlink()
    assert [one.path for one in rescue(tmp_path, force=True).made] == [str(path)]
    with ld.open(path) as tree:
        assert np.array_equal(shown(tree["entry/data/images"].compute().data), pixels)


def test_sparse_and_dense_frames_share_files_on_several_workers(
    client: Client, tmp_path: Path
) -> None:
    camera = Simulator(shape=(32, 24), bands=list(BANDS), photons=0.05)
    pipe = ld.Pipeline()
    pipe.add("photons", Sparsify())
    pipe.add("sparse", SaveHdf5(folder=str(tmp_path), entry="photons"), after="photons")
    pipe.add("raw", SaveHdf5(folder=str(tmp_path), entry="raw"))
    with ld.Acquisition(
        client, camera, pipe, nb_frames=60, expo_time=1e-3,
        topology=ld.Topology(receivers=1, workers=3),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
        path = acquisition.files["sparse"]
        assert acquisition.files["raw"] == path
    truth = np.stack([camera.frame(number).values for number in range(60)])
    with ld.open(path) as tree:
        assert np.array_equal(shown(tree["photons/data/images"].compute().data), truth)
        assert np.array_equal(tree["raw/data/images"].values, truth)


def test_pixels_that_single_frames_lack_are_told(tmp_path: Path) -> None:
    data = labelled(counts(4))
    lacks = np.zeros(data.shape, bool)
    lacks[2, 0, 5:8] = True
    pixels = data.where(~lacks, 65535).astype("u2")
    pixels = pixels.assign_coords(
        invalid=(data.dims, lacks), status=("frame", np.array([1, 1, 2, 1], "u1"))
    )
    path = saved(tmp_path, pixels)
    with h5py.File(path) as file:
        validity = file["entry/instrument/detector/validity"]
        assert validity["frame_number"][()].tolist() == [2]
        assert np.array_equal(validity["invalid"][0, 0].astype(bool), lacks[2, 0])
    with ld.open(path) as tree:
        found = shown(tree["entry/data/images"].compute().data)
    assert np.array_equal(found, np.where(lacks, 0, data.values))


def test_blocks_of_other_forms_are_refused() -> None:
    frames = Frames.of(np.zeros((2, 1, 4, 4), "u2"))
    held = frames.holding(SparsePixels.blank((1, 4, 4), np.dtype("u2")))
    assert held.sparse is not None
    assert not held.is_dense
