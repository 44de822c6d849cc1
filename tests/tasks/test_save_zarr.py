"""SaveZarr: what xarray and zarr-python read of it, while it grows, at its end, and in shards."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from harness import chained, record, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import block, dtypes, lacking, seeds, shapes

import limadask as ld
from limadask.errors import ConfigError, SaveError
from limadask.frames import NEVER, Frames, Spec, Status
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.storage.zarr_store import shard_frames
from limadask.task import Place
from limadask_tasks import Crop, RoiStatistics, SaveZarr

CODECS = ["blosc_zstd", "blosc_lz4", "zstd", "none"]
SPEC = Spec(Grid((4, 5)).flip("x"), np.dtype("u2"), nb_frames=6)


def place(uuid: str = "u", rank: int = 0, ranks: int = 1) -> Place:
    return Place("file", uuid, rank, ranks)


def saved(
    task: SaveZarr, blocks: list[Frames], ranks: int = 1, spec: Spec = SPEC, uuid: str = "u",
    dead: tuple[int, ...] = (), count: int | None = None,
) -> str:  # fmt: skip
    """Save blocks in turns by several ranks, some of which die; join, return the path."""
    writers = [task.open(spec, place(uuid, rank, ranks)) for rank in range(ranks)]
    ledger = Ledger()
    for number, one in enumerate(blocks):
        writer = writers[number % ranks]
        writer.write([writer.encode(one)])
        ledger.mark_frames(one.numbers, one.status, lambda number, one=one: one.causes[number])
    ledger.finish("detector", count or len(ledger))
    parts = [writer.close() for rank, writer in enumerate(writers) if rank not in dead]
    task.join(spec, place(uuid, 0, ranks), parts, record(ledger, len(ledger), uuid=uuid))
    return task.path()


def opened(path: str | Path) -> xr.Dataset:
    """Open a store as anybody would."""
    with xr.open_zarr(path) as dataset:
        return dataset.load()


@given(
    shape=shapes(), dtype=dtypes, codec=st.sampled_from(CODECS), seed=seeds,
    bands=st.sampled_from([("0",), ("4 keV", "8 keV")]), shard=st.sampled_from([None, 2, 7]),
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_xarray_reads_what_was_saved(
    shape: tuple[int, int], dtype: str, codec: Any, seed: int, bands: tuple[str, ...],
    shard: int | None, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    spec = Spec(Grid(shape), np.dtype(dtype), bands, 8)
    folder = str(tmp_path_factory.mktemp("saved"))
    task = SaveZarr(folder=folder, compression=codec, shard=shard)
    blocks = [block(seed, spec, 3), block(seed + 1, spec, 2, first=5)]
    dataset = opened(saved(task, blocks, 2, spec, count=8))
    found = dataset["images" if len(bands) > 1 else "data"]
    expected = np.full((8, *spec.frame_shape), spec.fill)
    expected[:3], expected[5:7] = blocks[0].pixels, blocks[1].pixels
    assert found.dtype == spec.dtype
    assert found.dims == (("frame", "band", "y", "x") if len(bands) > 1 else ("frame", "y", "x"))
    np.testing.assert_array_equal(found, expected if len(bands) > 1 else expected[:, 0])
    assert dataset["frame"].values.tolist() == list(range(8))
    assert dataset["frame_status"].values.tolist() == [1, 1, 1, 3, 3, 1, 1, 3]
    causes = dataset["frame_cause"].values.tolist()
    assert causes == ["", "", "", "detector", "detector", "", "", "detector"]
    if len(bands) > 1:
        assert dataset["band"].values.tolist() == list(bands)


def test_times_units_and_what_is_known_of_the_run(tmp_path: Path) -> None:
    spec = SPEC.replace(columns=(("start_time", "s"),))
    frames = replace(block(1, spec, 3), values=np.array([[0.5], [np.nan], [2.5]]))
    frames.timestamps[1] = NEVER
    path = saved(SaveZarr(folder=str(tmp_path)), [frames], spec=spec)
    dataset = opened(path)
    assert dataset["timestamp"].values[0] == np.datetime64(7, "ns")
    assert np.isnat(dataset["timestamp"].values[1])
    np.testing.assert_array_equal(dataset["start_time"], [0.5, np.nan, 2.5])
    assert dataset["start_time"].attrs["units"] == "s"
    about = zarr.open_group(path, mode="r").attrs
    assert about["run_state"] == "done"
    assert about["metadata"] == {"sample": "LaB6", "nested": {"list": [1, 2.5]}, "none": None}
    assert about["parameters"]["hardware"]["expo_time"] == 0.25
    assert about["detector"]["serial"] == "42"


def test_the_frames_that_are_there_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    task = SaveZarr(folder=str(tmp_path))
    writer = task.open(SPEC, place())
    frames = block(1, SPEC, 2, first=1)
    writer.write([writer.encode(frames)])
    dataset = opened(task.path())
    assert dataset["data"].shape == (6, 4, 5)
    np.testing.assert_array_equal(dataset["data"][1:3], frames.pixels[:, 0])
    assert (dataset["data"][[0, 3]] == 65535).all()
    assert not dataset["frame_status"].any()
    assert dataset.attrs["run_state"] == "running"
    writer.close()


def test_a_store_of_any_number_of_frames_grows_at_the_end(tmp_path: Path) -> None:
    spec = SPEC.replace(nb_frames=None)
    task = SaveZarr(folder=str(tmp_path))
    frames = block(3, spec, 4)
    dataset = opened(saved(task, [frames], spec=spec))
    np.testing.assert_array_equal(dataset["data"], frames.pixels[:, 0])


def test_stopped_early_it_has_as_many_frames_as_the_run(tmp_path: Path) -> None:
    assert opened(saved(SaveZarr(folder=str(tmp_path)), [block(1, SPEC, 2)])).sizes["frame"] == 2


def test_workers_that_begin_at_once_make_one_store(tmp_path: Path) -> None:
    older = SaveZarr(folder=str(tmp_path), compression="none")
    saved(older, [block(9, SPEC, 6)], uuid="older")
    task = SaveZarr(folder=str(tmp_path), file_exists_policy="overwrite")
    for attempt in range(5):
        uuid, ranks = f"run {attempt}", 8
        with ThreadPoolExecutor(ranks) as pool:
            places = [place(uuid, rank, ranks) for rank in range(ranks)]
            writers = list(pool.map(lambda one: task.open(SPEC, one), places))
        for rank, writer in enumerate(writers[:6]):
            writer.write([writer.encode(block(rank, SPEC, 1, first=rank))])
        parts = [writer.close() for writer in writers]
        ledger = Ledger(6)
        ledger.mark(0, 6, Status.PRESENT)
        task.join(SPEC, places[0], parts, record(ledger, 6, uuid=uuid))
        expected = np.concatenate([block(rank, SPEC, 1).pixels[:, 0] for rank in range(6)])
        np.testing.assert_array_equal(opened(task.path())["data"], expected)
        assert [path.name for path in tmp_path.iterdir()] == ["limadask.zarr"], "nothing is left"


def test_an_older_store_is_refused_or_replaced(tmp_path: Path) -> None:
    task = SaveZarr(folder=str(tmp_path))
    task.check()
    path = saved(task, [block(1, SPEC, 6)])
    for refuse in (task.check, lambda: task.open(SPEC, place("other"))):
        with pytest.raises(ConfigError, match=r"limadask\.zarr exists") as caught:
            refuse()
        assert [one.name for one in tmp_path.iterdir()] == ["limadask.zarr"]
        assert (caught.value.field, caught.value.value) == ("file_exists_policy", "abort")
    replacing = task.replace(file_exists_policy="overwrite")
    replacing.check()
    second = block(2, SPEC, 3)
    saved(replacing, [second], uuid="other")
    np.testing.assert_array_equal(opened(path)["data"], second.pixels[:, 0])


def test_what_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "limadask.zarr" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("irreplaceable")
    task = SaveZarr(folder=str(tmp_path), file_exists_policy="overwrite")
    with pytest.raises(ConfigError, match="exists"):
        task.open(SPEC, place())
    assert precious.read_text() == "irreplaceable"


def test_what_a_dead_worker_saved_is_found_and_joined(tmp_path: Path) -> None:
    task = SaveZarr(folder=str(tmp_path))
    living, dead = (task.open(SPEC, place("u", rank, 2)) for rank in (0, 1))
    one, two = block(1, SPEC, 3), block(2, SPEC, 3, first=3)
    two.status[1], two.causes = Status.PARTIAL, {4: "packets_lost"}
    living.write([living.encode(one)])
    dead.write([dead.encode(replace(two, values=np.zeros((3, 2))))])
    os.unlink(tmp_path / "limadask.zarr" / "data" / "c.5.0.0")  # killed in front of it
    found = task.recover(SPEC, place("u", 1, 2), 1)
    assert found.numbers.tolist() == [3, 4]
    assert found.status.tolist() == [Status.PRESENT, Status.PARTIAL]
    assert found.causes == {4: "packets_lost"}
    assert task.recover(SPEC, place("another run", 1, 2), 1).numbers.tolist() == []
    ledger = Ledger(6)
    ledger.mark(0, 3, Status.PRESENT)
    ledger.finish("worker_lost")
    told = record(ledger, 6, uuid="u")
    for _ in range(2):  # whoever joins may die before it can say so
        task.join(SPEC, place("u", 0, 2), [living.close()], told)
        dataset = opened(task.path())
        assert dataset["frame_status"].values.tolist() == [1, 1, 1, 1, 2, 3]
        causes = dataset["frame_cause"].values.tolist()
        assert causes == ["", "", "", "", "packets_lost", "worker_lost"]
        np.testing.assert_array_equal(dataset["data"][3:5], two.pixels[:2, 0])


def test_frames_that_lack_pixels_and_pixels_masked_in_all(tmp_path: Path) -> None:
    masked = np.zeros((4, 5), bool)
    masked[0, 1] = True
    spec = SPEC.replace(masked=masked)
    missing = np.zeros((4, 5), bool)
    missing[2:, 3] = True
    frames = lacking(block(1, spec, 3), {1: missing})
    frames.causes = {1: "packets_lost"}
    path = saved(SaveZarr(folder=str(tmp_path)), [frames], spec=spec)
    dataset = opened(path)
    np.testing.assert_array_equal(dataset["masked"], masked)
    np.testing.assert_array_equal(dataset["invalid"], [masked & False, missing, masked & False])
    assert {"masked", "invalid"} <= set(dataset.coords)
    assert dataset["frame_status"].values.tolist() == [1, 2, 1]


@pytest.mark.parametrize("shard", [None, 4])
def test_it_opens_as_an_acquisition_and_is_processed_again(
    tmp_path: Path, shard: int | None
) -> None:
    blocks = [block(1, SPEC, 3), block(2, SPEC, 2, first=4)]
    tree = ld.open(saved(SaveZarr(folder=str(tmp_path), shard=shard), blocks, count=6))
    frames = tree["entry/data"]["data"]
    assert Grid.of(frames) == SPEC.grid
    assert frames.sel(det_y=0, det_x=4, method="nearest")[0] == blocks[0].pixels[0, 0, 0, 0]
    assert tree["entry"].attrs["metadata"]["sample"] == "LaB6"
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(y=0, x=0, height=4, width=5)]))
    done = ld.process(tree, pipe)
    sums = [int(one.sum()) for some in blocks for one in some.pixels]
    assert done["stats"]["sum"].values.ravel().tolist() == sums
    assert done["stats"]["frame"].values.tolist() == [0, 1, 2, 4, 5]
    assert done.ledger.ranges(Status.ABSENT) == [(3, 3, "detector")]


def test_the_store_of_others_is_no_acquisition(tmp_path: Path) -> None:
    path = tmp_path / "other.zarr"
    zarr.create_array(path, shape=(3, 4, 5), dtype="u2")
    with pytest.raises(ConfigError, match="no store of limadask") as caught:
        ld.open(path)
    assert caught.value.value == str(path)


def test_shards_are_files_of_many_frames(tmp_path: Path) -> None:
    path = Path(saved(SaveZarr(folder=str(tmp_path), shard=4), [block(1, SPEC, 6)]))
    files = (one for one in (path / "data").rglob("*") if one.is_file())
    found = sorted(str(one.relative_to(path)) for one in files)
    assert found == ["data/c/0/0/0", "data/c/1/0/0", "data/zarr.json"]
    array = zarr.open_array(path / "data", mode="r")
    assert (array.shards, array.chunks) == ((4, 4, 5), (1, 4, 5))
    with pytest.raises(ConfigError, match="a file for each frame"):
        shard_frames(path, 4)


def test_frames_are_there_until_all_shards_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(SaveZarr(folder=str(tmp_path)), [frames := block(1, SPEC, 6)])
    before = sorted(os.listdir(f"{path}/data"))
    replace_file, count = os.replace, 0

    def full(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count > allowed:
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", full)
    for allowed in range(4):  # two shards, the array's metadata, the store's
        count = 0
        with pytest.raises(OSError, match="No space"):
            shard_frames(path, 4)
        assert set(before) <= set(os.listdir(f"{path}/data"))
        np.testing.assert_array_equal(opened(path)["data"], frames.pixels[:, 0])
        array = zarr.open_array(f"{path}/data", mode="r")
        np.testing.assert_array_equal(array[:], frames.pixels[:, 0])
        if allowed == 3:  # told by the array, not by the root yet
            assert array.shards is not None
    allowed = 4
    count = 0
    shard_frames(path, 4)
    np.testing.assert_array_equal(opened(path)["data"], frames.pixels[:, 0])


def test_frames_that_cannot_be_written_are_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SaveZarr(folder=str(tmp_path))
    writer = task.open(SPEC, place())
    replace_file = os.replace

    def full(source: str, target: str) -> None:
        if target.endswith("c.4.0.0"):
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", full)
    frames = block(1, SPEC, 6)
    with pytest.raises(SaveError, match=r"No space.*c\.4\.0\.0") as caught:
        writer.write([writer.encode(frames[:3]), writer.encode(frames[3:])])
    assert caught.value.numbers == (4,)
    assert task.recover(SPEC, place(), 0).numbers.tolist() == [0, 1, 2, 3, 5]
    writer.close()
    with pytest.raises(SaveError, match="closed") as caught:
        writer.write([writer.encode(frames[:2])])
    assert caught.value.numbers == (0, 1)


def test_a_line_that_was_cut_off_costs_its_own_frames_only(tmp_path: Path) -> None:
    task = SaveZarr(folder=str(tmp_path))
    writer = task.open(SPEC, place())
    writer.write([writer.encode(block(1, SPEC, 2))])
    journal = tmp_path / ".limadask.zarr.u.0" / "journal.jsonl"
    with journal.open("a") as file:
        file.write('\n{"numbers": [2, 3], "ti')
    writer.close()
    assert task.recover(SPEC, place(), 0).numbers.tolist() == [0, 1]
    assert json.loads(journal.read_text().split("\n")[1])["uuid"] == "u"


def test_frames_too_large_for_blosc_are_refused_at_once(tmp_path: Path) -> None:
    spec = Spec(Grid((40_000, 30_000)), np.dtype("u2"))
    with pytest.raises(ConfigError, match="too large for Blosc") as caught:
        SaveZarr(folder=str(tmp_path)).plan(spec)
    assert caught.value.allowed == "zstd or none"
    SaveZarr(folder=str(tmp_path), compression="zstd").plan(spec)


def test_it_saves_what_a_pipeline_makes(tmp_path: Path) -> None:
    frames = block(5, SPEC, 6)
    task = SaveZarr(folder=str(tmp_path))
    pipeline = chained(Crop(y=1, x=1, height=2, width=3), task, collect=False)
    assert run(pipeline, [frames], SPEC).failures == []
    np.testing.assert_array_equal(opened(task.path())["data"], frames.pixels[:, 0, 1:3, 1:4])


def test_without_its_package_it_says_which_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ConfigError, match=r"limadask\[zarr\]"):
        SaveZarr(folder=str(tmp_path)).open(SPEC, place())
