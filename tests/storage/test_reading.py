"""``ld.open``: what was saved, with its mask and its place, and processed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import limadask as ld
from limadask_tasks import Accumulate, Bin, Flip, Mask, RoiStatistics, SaveHdf5

IMAGES = np.arange(1, 2 * 3 * 6 * 8 + 1, dtype="u2").reshape(2, 3, 6, 8)


def saved(folder: Path, *nodes: ld.Task, images: Any = IMAGES, **fields: Any) -> str:
    """Save images after some tasks; return the master's path."""
    pipe = ld.Pipeline()
    names = ["input"]
    for number, task in enumerate(nodes):
        pipe.add(f"n{number}", task, after=names[-1])
        names.append(f"n{number}")
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="r", **fields), after=names[-1])
    return ld.process(images, pipe).files["file"]


@pytest.mark.parametrize("each", [False, True], ids=["all bands", "each band"])
def test_masked_pixels_stay_out_when_saved_frames_are_processed_again(
    tmp_path: Path, each: bool
) -> None:
    mask = np.zeros((3, 6, 8) if each else (6, 8), bool)
    mask[..., 0, 1] = True
    if each:
        mask[2] = False
    path = saved(tmp_path, Mask(mask))
    again = ld.Pipeline()
    again.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 1, 3)]))
    stats = ld.process(ld.open(path), again)["stats"]
    assert stats["count"].values[0, :, 0].tolist() == [2, 2, 3 if each else 2]
    assert stats["max"].values[0, :, 0].tolist() == IMAGES[0, :, 0, 2].tolist()


def test_a_user_s_function_sees_what_is_masked(tmp_path: Path) -> None:
    seen: list[Any] = []

    @ld.task
    def look(block: xr.DataArray) -> xr.DataArray:
        seen.append(block["masked"].values)
        return block

    mask = np.zeros((6, 8), bool)
    mask[2, 3] = True
    pipe = ld.Pipeline()
    pipe.add("mask", Mask(mask))
    pipe.add("flip", Flip(axis="y"), after="mask")
    pipe.add("look", look(), after="flip")
    ld.process(IMAGES, pipe)
    assert seen
    np.testing.assert_array_equal(seen[-1], mask[::-1])


def test_an_appended_master_is_processed_by_its_newest_run(tmp_path: Path) -> None:
    saved(tmp_path)
    path = saved(tmp_path, images=IMAGES + 1000, file_exists_policy="append")
    tree = ld.open(path)
    assert set(tree.children) == {"entry", "entry_2"}
    frames = ld.process(tree, ld.Pipeline())["input"]
    np.testing.assert_array_equal(frames, IMAGES + 1000)


def test_a_master_without_its_data_files_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path))
    (tmp_path / "r_0_00000.h5").unlink()
    with pytest.raises(ld.ConfigError, match="not there") as caught:
        ld.open(path)
    assert "r_0_00000.h5" in str(caught.value.value)


def test_times_of_plain_arrays_are_unknown(tmp_path: Path) -> None:
    data = ld.open(saved(tmp_path))["entry/data"]
    assert np.isnat(data["timestamp"].values).all()


def test_sizes_of_pixels_follow_binning_and_turns(tmp_path: Path) -> None:
    path = saved(tmp_path, Bin(y=2, x=4), Accumulate(nb_frames=2))
    with h5py.File(path) as file:
        module = file["entry/instrument/detector/module"]
        sizes = [module[f"{name}_pixel_direction"][()] for name in ("slow", "fast")]
    assert sizes == [2.0, 4.0]  # of a detector whose pixels are not known, in pixels
    assert "x_pixel_size" not in h5py.File(path)["entry/instrument/detector"]


def test_the_policy_counts_here_too(tmp_path: Path) -> None:
    @ld.task
    def fail(block: xr.DataArray) -> xr.DataArray:
        if block.any():  # not when it is tried out on a blank frame
            raise ValueError("no good")
        return block

    pipe = ld.Pipeline()
    pipe.add("fail", fail())
    assert len(ld.process(IMAGES, pipe).failures) == 1
    with pytest.raises(ld.AcquisitionFailed, match="'fail' raised for frames 0 to 1"):
        ld.process(IMAGES, pipe, policy=ld.Policy(on_error="abort"))
    with pytest.raises(ld.AcquisitionFailed, match="2 frames are absent"):
        ld.process(IMAGES, pipe, policy=ld.Policy(max_absent=1))


def test_an_unknown_node_to_keep_is_named_as_it_was_given() -> None:
    with pytest.raises(ld.ConfigError) as caught:
        ld.process(IMAGES, ld.Pipeline(), keep=["x"])
    assert caught.value.value == "x"


def test_arrays_are_shown_by_their_shape() -> None:
    pipe = ld.Pipeline()
    pipe.add("mask", Mask(np.zeros((6, 8), bool)))
    assert "mask(array=(6, 8) bool)" in repr(pipe)
