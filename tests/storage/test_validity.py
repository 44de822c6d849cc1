"""What single frames lack: in the files, opened, and processed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from harness import record
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, lacking

import limadask as ld
from limadask.frames import Frames, Labels, Spec, Status
from limadask.geometry import Grid, Rect
from limadask.ledger import Ledger
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, inline, plan
from limadask.storage.validity import Validity
from limadask_tasks import Accumulate, Flip, Mask, RoiStatistics, SaveHdf5

COUNT, SHAPE = 12, (6, 8)
BANDS = {"one": ("0",), "two": ("4 keV", "8 keV")}
VALIDITY = "entry/instrument/detector/validity"


def spec_of(bands: tuple[str, ...]) -> Spec:
    return Spec(Grid(SHAPE), np.dtype("u2"), bands, COUNT)


def partial(spec: Spec, numbers: tuple[int, ...] = (2, 5, 6, 11), seed: int = 1) -> Frames:
    """Frames of which some lack pixels: in all bands, or in each other ones."""
    random = np.random.default_rng(seed)
    shapes = [SHAPE, spec.frame_shape]
    missing = {one: random.random(shapes[one % 2]) < 0.3 for one in numbers}
    return lacking(block(seed, spec, COUNT, top=5000), missing)


def dense(frames: Frames) -> Any:
    """Where pixels are missing, ``(frame, band, y, x)``."""
    found = np.zeros(frames.pixels.shape, bool)
    for number, mask in frames.invalid.items():
        found[number] |= mask
    return found


def saved(folder: Path, frames: Frames, spec: Spec, ranks: int = 1, **fields: Any) -> str:
    """Save blocks of three frames by several workers in turn; return the master's path."""
    task = SaveHdf5(folder=str(folder), prefix="r", **fields)
    pipe = Pipeline()
    pipe.add("file", task)
    programs = [Program(plan(pipe, spec), Policy(), "1234", one, ranks) for one in range(ranks)]
    for place, first in enumerate(range(0, COUNT, 3)):
        outcome = programs[place % ranks].run(frames[first : first + 3])
        assert outcome.failures == []
    ledger = Ledger(COUNT)
    ledger.mark_frames(frames.numbers, frames.status, lambda number: "packets_lost")
    parts = [program.close()["file"] for program in programs]
    task.join(spec, programs[0].place("file"), parts, record(ledger, COUNT))
    return str(folder / "r_master.h5")


def opened(path: str, group: str = "entry/data") -> xr.Dataset:
    node: Any = ld.open(path)[group]
    return node.to_dataset()


@pytest.mark.parametrize("bands", BANDS.values(), ids=BANDS)
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("compression", ["none", "bshuf_lz4"])
def test_each_frame_s_missing_pixels_are_in_the_files(
    tmp_path: Path, bands: tuple[str, ...], ranks: int, compression: str
) -> None:
    spec = spec_of(bands)
    frames = partial(spec)
    path = saved(tmp_path, frames, spec, ranks, compression=compression, nb_frames_per_file=5)
    with h5py.File(path) as file:
        numbers, invalid = file[f"{VALIDITY}/frame_number"][()], file[f"{VALIDITY}/invalid"]
        assert sorted(numbers.tolist()) == [2, 5, 6, 11]
        assert invalid.is_virtual
        assert invalid.shape == (4, *spec.frame_shape)
        np.testing.assert_array_equal(invalid[()] != 0, dense(frames)[numbers])
        status = file["entry/data/frame_status"][()]
    assert np.flatnonzero(status == Status.PARTIAL).tolist() == [2, 5, 6, 11]


@pytest.mark.parametrize("bands", BANDS.values(), ids=BANDS)
@pytest.mark.parametrize("always", ["dim_3d_or_4d", "dim_4d"])
def test_opened_frames_tell_what_they_lack(
    tmp_path: Path, bands: tuple[str, ...], always: str
) -> None:
    spec = spec_of(bands)
    frames = partial(spec)
    path = saved(tmp_path, frames, spec, 2, nb_dimensions=always)
    data, told = opened(path), dense(frames)
    has_bands = "images" in data
    invalid = data["images" if has_bands else "data"]["invalid"]
    assert invalid.chunks is not None  # nothing has been read yet
    assert invalid.dtype == bool
    np.testing.assert_array_equal(invalid, told if has_bands else told[:, 0])
    np.testing.assert_array_equal(
        invalid.isel(frame=5, y=slice(2, 4), x=3),
        (told if has_bands else told[:, 0])[5, ..., 2:4, 3],
    )
    for place, band in enumerate(bands if has_bands else ()):
        one = opened(path, f"entry/data_{band.replace(' ', '_')}")["data"]
        np.testing.assert_array_equal(one["invalid"], told[:, place])


def test_where_nothing_is_missing_nothing_is_told(tmp_path: Path) -> None:
    spec = spec_of(("0",))
    path = saved(tmp_path, partial(spec, ()), spec, 2)
    assert "invalid" not in opened(path)["data"].coords
    with h5py.File(path) as file:
        assert VALIDITY not in file


def pipeline() -> Pipeline:
    pipe = Pipeline()
    pipe.add("flip", Flip(axis="y"))
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, 4, 5)]), after="flip")
    pipe.add("sum", Accumulate(nb_frames=4), after="flip")
    return pipe


@pytest.mark.parametrize("bands", BANDS.values(), ids=BANDS)
def test_processing_what_was_opened_leaves_missing_pixels_out(
    tmp_path: Path, bands: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inline, "BLOCK", 5 * spec_of(bands).frame_nbytes)
    spec = spec_of(bands)
    frames = partial(spec)
    expected = ld.process(Labels(spec)(frames), pipeline(), keep=["flip", "sum"])
    count = (~dense(frames)[:, :, 2:, :5]).sum(axis=(2, 3))
    np.testing.assert_array_equal(expected["stats"]["count"][..., 0], count)
    tree = ld.open(saved(tmp_path, frames, spec, 2))
    data: Any = tree["entry/data"]
    for again in (tree, tree["entry"], data.to_dataset()):
        found = ld.process(again, pipeline(), keep=["flip", "sum"])
        assert found.ledger.ranges(Status.PARTIAL) == [
            (2, 2, "packets_lost"), (5, 6, "packets_lost"), (11, 11, "packets_lost")
        ]  # fmt: skip
        xr.testing.assert_equal(found["stats"], expected["stats"])
        for node in ("flip", "sum"):
            np.testing.assert_array_equal(found[node], expected[node])
            np.testing.assert_array_equal(found[node]["invalid"], expected[node]["invalid"])
            assert found[node]["status"].values.tolist() == expected[node]["status"].values.tolist()


def test_a_part_and_a_single_band_are_processed_too(tmp_path: Path) -> None:
    spec = spec_of(BANDS["two"])
    frames = partial(spec)
    path = saved(tmp_path, frames, spec)
    count = (~dense(frames)[:, :, 2:, :5]).sum(axis=(2, 3))
    part = ld.process(opened(path).isel(frame=slice(4, 8)), pipeline())["stats"]["count"]
    np.testing.assert_array_equal(part[..., 0], count[4:8])
    one = ld.process(opened(path, "entry/data_8_keV"), pipeline())["stats"]["count"]
    np.testing.assert_array_equal(one[:, 0, 0], count[:, 1])
    single = ld.process(opened(path)["images"].isel(frame=5), pipeline())["stats"]["count"]
    np.testing.assert_array_equal(single[0, :, 0], count[5])


def test_what_is_saved_again_still_tells(tmp_path: Path) -> None:
    spec = spec_of(BANDS["two"])
    frames = partial(spec)
    always = np.zeros(SHAPE, bool)
    always[0, 0] = True
    pipe = Pipeline()
    pipe.add("mask", Mask(always))
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="again"), after="mask")
    path = ld.process(ld.open(saved(tmp_path, frames, spec)), pipe).files["file"]
    data = opened(path)
    lacks = np.array([number in frames.invalid for number in range(COUNT)])
    told = dense(frames) | (always & lacks[:, np.newaxis, np.newaxis, np.newaxis])
    np.testing.assert_array_equal(data["images"]["invalid"], told)
    assert (data["images"].values[data["images"]["invalid"].values] == 65535).all()


def test_an_appended_run_tells_what_its_own_frames_lack(tmp_path: Path) -> None:
    spec = spec_of(("0",))
    first, second = partial(spec), partial(spec, (0, 3), seed=2)
    saved(tmp_path, first, spec)
    path = saved(tmp_path, second, spec, file_exists_policy="append")
    for entry, frames in (("entry", first), ("entry_2", second)):
        found = opened(path, f"{entry}/data")["data"]["invalid"]
        np.testing.assert_array_equal(found, dense(frames)[:, 0])


@given(
    first=st.integers(0, COUNT - 1) | st.slices(COUNT) | st.lists(st.integers(0, 11), max_size=4),
    y=st.integers(0, 5) | st.slices(6),
    x=st.integers(0, 7) | st.slices(8),
)
def test_any_part_can_be_asked_for(
    tmp_path_factory: pytest.TempPathFactory, first: Any, y: Any, x: Any
) -> None:
    told = dense(partial(spec_of(("0",))))
    path = tmp_path_factory.mktemp("validity") / "m.h5"
    numbers = np.array([11, 2, 6, 5])
    with h5py.File(path, "w") as file:
        file["some/invalid"] = told[numbers].astype("u1")
    validity = Validity(str(path), "some", numbers, (COUNT, 1, *SHAPE))
    key = first, slice(None), y, x
    np.testing.assert_array_equal(validity[key], told[key])
    flat = Validity(str(path), "some", numbers, (COUNT, *SHAPE))
    np.testing.assert_array_equal(flat[first, y, x], told[:, 0][first, y, x])
    np.testing.assert_array_equal(validity[first], told[first])
