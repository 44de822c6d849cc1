"""Sparse frames and back, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sparse
import xarray as xr
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st
from sparse_frames import shown
from strategies import DTYPES, Shape, block, seeds, shapes

import limadask as ld
from limadask.frames import Labels, Spec
from limadask.geometry import Grid
from limadask_detectors import Simulator
from limadask_tasks import Crop, Densify, Mask, Observe, SaveHdf5, Sparsify

BANDS = ("low", "high")


@given(
    shape=shapes(1, 15),
    seed=seeds,
    dtype=st.sampled_from(DTYPES),
    threshold=st.sampled_from((0, 0.5, 2, 3.7, 100_000)),
    masks=st.sampled_from((None, 2, 3)),
)
def test_pixels_above_the_threshold_come_back(
    shape: Shape, seed: int, dtype: str, threshold: float, masks: int | None
) -> None:
    random = np.random.default_rng(seed)
    masked = None
    if masks is not None:
        masked = random.random((2, *shape)[-masks:]) < 0.3
    spec = Spec(Grid(shape), np.dtype(dtype), BANDS, masked=masked)
    frames = block(seed, spec, top=6)
    held = Sparsify(threshold=threshold)(Labels(spec)(frames))
    assert isinstance(held.data, sparse.GCXS)
    found = Densify()(held)
    pixels = frames.pixels
    expected = np.where(pixels > threshold, pixels, 0)
    if masked is not None:
        expected = np.where(masked, spec.fill, expected)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found.values, expected, equal_nan=True)
    assert found["status"].values.tolist() == frames.status.tolist()


def test_nan_is_kept() -> None:
    pixels = np.array([[[[0, np.nan, 2]]]], "f4")
    back = ld.process(pixels, _pipe(Sparsify(), Densify()))["1"]
    assert np.array_equal(back.values, pixels, equal_nan=True)


@pytest.mark.parametrize("bands", [1, 2])
def test_a_mask_of_its_own_does_what_a_mask_before_it_does(bands: int, tmp_path: Path) -> None:
    random = np.random.default_rng(bands)
    pixels = random.poisson(0.5, (3, 2, 7, 9)).astype("u2")
    mask = random.random((bands, 7, 9)) < 0.3
    np.save(tmp_path / "mask.npy", mask.astype("u1"))
    expected = ld.process(pixels, _pipe(Mask(mask), Sparsify(), Densify()))["2"]
    for source in (mask, str(tmp_path / "mask.npy")):
        found = ld.process(pixels, _pipe(Sparsify(mask=source), Densify()))["1"]
        assert np.array_equal(found.values, expected.values)
    assert (expected.values[:, mask if bands == 2 else np.broadcast_to(mask, (2, 7, 9))] > 9).all()


def test_a_part_of_its_mask_belongs_to_a_part_of_the_frames() -> None:
    mask = np.arange(12).reshape(3, 4) % 2
    part = Sparsify(mask=mask).for_part(Spec(Grid((3, 4)), np.dtype("u2")), ld.Rect(1, 2, 2, 2))
    assert np.array_equal(part.mask, mask[np.newaxis, 1:3, 2:4])
    assert Sparsify().for_part(Spec(Grid((3, 4)), np.dtype("u2")), ld.Rect(1, 2, 2, 2)).mask is None


def _pipe(*tasks: Any) -> ld.Pipeline:
    pipe = ld.Pipeline()
    for number, task in enumerate(tasks):
        pipe.add(str(number), task, after=str(number - 1) if number else "input")
    return pipe


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((Sparsify(), Crop(y=0, x=0, height=2, width=2)), "crop cannot work on sparse frames"),
        ((Sparsify(), Sparsify()), "sparsify cannot work on sparse frames"),
        ((Densify(),), "these frames have all their pixels"),
        ((Sparsify(threshold=-1),), "pixels that are not kept are 0"),
        ((Sparsify(mask=np.zeros((3, 3))),), r"the image has shape \(3, 3\)"),
        ((Sparsify(mask=np.full((4, 4), np.nan)),), "the mask is NaN at 16 pixels"),
    ],
)
def test_what_cannot_be_is_refused_before_any_frame(tasks: Any, message: str) -> None:
    with pytest.raises(ld.ConfigError, match=message):
        ld.process(np.zeros((2, 4, 4), "u2"), _pipe(*tasks))


def test_the_plan_knows_sparse_from_dense() -> None:
    spec = Sparsify().plan(Spec(Grid((4, 4)), np.dtype("u2")))
    assert spec.is_sparse
    assert str(spec) == "4 × 4 uint16, sparse"
    assert not Densify().plan(spec).is_sparse


def test_a_function_gets_sparse_blocks_and_may_return_them() -> None:
    @ld.task
    def doubled(block: xr.DataArray) -> xr.DataArray:
        assert isinstance(block.data, sparse.SparseArray)
        pixels = block.data
        parts = pixels.data * np.uint16(2), pixels.indices, pixels.indptr
        return block.copy(data=sparse.GCXS(parts, pixels.shape, pixels.compressed_axes))

    @ld.task
    def counted(block: xr.DataArray) -> xr.Dataset:
        ends = np.append(0, np.cumsum(block.data.data, dtype="i8"))[block.data.indptr]
        return xr.Dataset({"photons": ("frame", np.diff(ends))})

    pixels = np.random.default_rng(0).poisson(0.1, (5, 8, 9)).astype("u2")
    pipe = _pipe(Sparsify(), doubled(), Densify())
    pipe.add("count", counted(), after="1")
    found = ld.process(pixels, pipe)
    assert np.array_equal(found["2"].values[:, 0], pixels * 2)
    assert found["count"]["photons"].values.tolist() == (pixels * 2).sum(axis=(1, 2)).tolist()


def test_a_function_must_return_what_it_planned() -> None:
    @ld.task
    def unstable(block: xr.DataArray) -> xr.DataArray:
        return block if block.sizes["frame"] == 1 else block.copy(data=shown(block.data))

    found = ld.process(np.ones((3, 4, 4), "u2"), _pipe(Sparsify(), unstable()), keep=[])
    assert "planned sparse frames and returned dense ones" in found.failures[0].text


def test_sparse_frames_pass_through_a_cluster(client: Client, tmp_path: Any) -> None:
    camera = Simulator(shape=(64, 48), bands=list(BANDS), photons=0.05, modules=2)
    gaps = camera.frame(0).values[0] == 65535
    pipe = ld.Pipeline()
    pipe.add("masked", Mask(gaps))
    pipe.add("sparse", Sparsify(), after="masked")
    pipe.add("seen", Observe(history=100), after="sparse")
    pipe.add("dense", Densify(), after="sparse")
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="dense")
    topology = ld.Topology(receivers=1, workers=2)
    with ld.Acquisition(
        client, camera, pipe, nb_frames=30, expo_time=1e-3, topology=topology
    ) as acquisition:
        futures = acquisition.futures("sparse", max_held=100)
        acquisition.prepare()
        acquisition.start()
        blocks = [future.result() for future in futures]
        acquisition.wait()
        seen = acquisition.observe["seen"].history()
        latest = acquisition.observe["seen"].latest()
    truth = np.stack([camera.frame(number).values for number in range(30)])
    with ld.open(acquisition.files["file"]) as tree:
        assert np.array_equal(tree["entry/data/images"].values, truth)
    counts = np.where(gaps, 0, truth)
    assert isinstance(seen.data, sparse.GCXS)
    assert np.array_equal(shown(seen.data), counts[seen["frame"].values])
    assert np.array_equal(shown(latest.data), counts[29])
    taken = {
        int(number): shown(block.data)[place]
        for block in blocks
        for place, number in enumerate(block["frame"].values)
    }
    assert all(np.array_equal(taken[number], counts[number]) for number in taken)
    assert len(taken) == 30
