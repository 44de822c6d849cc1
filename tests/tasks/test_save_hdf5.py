"""SaveHdf5: what is saved, where, and what is in its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from harness import chained, record, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Operation, Shape, applied, block, chains, seeds, shapes, tasks_of

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.task import Place
from limadask_tasks import SaveHdf5

CODECS = ["none", "bshuf_lz4", "bshuf_zstd", "blosc_zstd", "zip"]
DATA = "entry/instrument/detector/data"
SPEC = Spec(Grid((4, 5)), np.dtype("u2"), nb_frames=6)


def saved(task: SaveHdf5, blocks: list[Frames], ranks: int = 1, spec: Spec = SPEC) -> str:
    """Save blocks in turns by several ranks, join them, and return the master's path."""
    writers = [task.open(spec, Place("file", rank=rank, ranks=ranks)) for rank in range(ranks)]
    ledger = Ledger()
    for number, one in enumerate(blocks):
        writer = writers[number % ranks]
        writer.write([writer.encode(one)])
        ledger.mark_frames(one.numbers, one.status, lambda _: "")
    count = len(ledger)
    ledger.finish("detector", count)
    parts = [writer.close() for writer in writers]
    task.join(spec, Place("file", ranks=ranks), parts, record(ledger, count))
    return task.path()


@given(
    case=shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape))),
    codec=st.sampled_from(CODECS),
    bands=st.sampled_from([("0",), ("a", "b")]),
    seed=seeds,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_what_a_pipeline_makes_is_what_is_saved(
    case: tuple[Shape, tuple[Operation, ...]],
    codec: Any,
    bands: tuple[str, ...],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    shape, chain = case
    spec = Spec(Grid(shape), np.dtype("u2"), bands, 3)
    frames = block(seed, spec)
    folder = str(tmp_path_factory.mktemp("saved"))
    pipeline = chained(*tasks_of(chain), SaveHdf5(folder=folder, compression=codec), collect=False)
    assert run(pipeline, [frames], spec).failures == []
    with h5py.File(f"{folder}/limadask_0_00000.h5") as file:
        pixels = file[DATA][()]
    expected = applied(frames.pixels.astype("i8"), chain)
    np.testing.assert_array_equal(pixels, expected if len(bands) > 1 else expected[:, 0])


def test_the_master_joins_what_two_workers_saved(tmp_path: Path) -> None:
    task = SaveHdf5(folder=str(tmp_path), prefix="run", nb_frames_per_file=2)
    blocks = [block(number, SPEC, 3, first=3 * number) for number in range(4)]
    master = saved(task, blocks, ranks=2)
    assert master == str(tmp_path / "run_master.h5")
    with h5py.File(master) as file:
        pixels = file["entry/data/data"][()]
    np.testing.assert_array_equal(pixels, np.concatenate([one.pixels[:, 0] for one in blocks]))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"run_{rank}_{number:05d}.h5" for rank in (0, 1) for number in range(3)] + [
        "run_master.h5"
    ]


def test_what_a_dead_worker_saved_is_found_and_joined(tmp_path: Path) -> None:
    task = SaveHdf5(folder=str(tmp_path))
    living, dead = (task.open(SPEC, Place("file", rank=rank, ranks=2)) for rank in (0, 1))
    one, two = block(1, SPEC, 3), block(2, SPEC, 3, first=3)
    living.write([living.encode(one)])
    dead.write([dead.encode(two)])
    dead.close()
    found = task.recover(SPEC, Place("file", ranks=2), 1)
    assert found.numbers.tolist() == [3, 4, 5]
    assert found.status.tolist() == two.status.tolist()
    assert task.recover(SPEC, Place("file", ranks=2), 7).numbers.tolist() == []
    ledger = Ledger(6)
    ledger.mark(0, 6, Status.PRESENT)
    task.join(SPEC, Place("file", ranks=2), [living.close()], record(ledger, 6))
    with h5py.File(task.path()) as file:
        assert file["entry/data/data"].shape == (6, 4, 5)
        np.testing.assert_array_equal(file["entry/data/data"][3:], two.pixels[:, 0])


def test_a_second_run_is_refused_replaces_or_is_added(tmp_path: Path) -> None:
    first, second = block(1, SPEC, 6), block(2, SPEC, 4)
    saved(SaveHdf5(folder=str(tmp_path), nb_frames_per_file=3), [first, second], 2)

    refusing = SaveHdf5(folder=str(tmp_path))
    with pytest.raises(ConfigError, match="exists") as caught:
        refusing.check()
    assert (caught.value.field, caught.value.value) == ("file_exists_policy", "abort")
    assert "overwrite or append" in caught.value.allowed

    adding = SaveHdf5(folder=str(tmp_path), file_exists_policy="append")
    adding.check()
    with h5py.File(saved(adding, [second])) as file:
        assert sorted(file) == ["entry", "entry_2"]
        np.testing.assert_array_equal(file["entry/data/data"][:6], first.pixels[:, 0])
        np.testing.assert_array_equal(file["entry_2/data/data"], second.pixels[:, 0])

    replacing = SaveHdf5(folder=str(tmp_path), file_exists_policy="overwrite")
    replacing.check()
    with h5py.File(saved(replacing, [second])) as file:
        assert list(file) == ["entry"]
        np.testing.assert_array_equal(file["entry/data/data"], second.pixels[:, 0])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["limadask_0_00000.h5", "limadask_master.h5"]


def test_files_of_another_prefix_are_left_alone(tmp_path: Path) -> None:
    saved(SaveHdf5(folder=str(tmp_path), prefix="a"), [block(1, SPEC)])
    other = SaveHdf5(folder=str(tmp_path), prefix="a_0", file_exists_policy="overwrite")
    other.check()
    saved(other, [block(2, SPEC)])
    SaveHdf5(folder=str(tmp_path), prefix="b").check()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a_0_00000.h5", "a_0_0_00000.h5", "a_0_master.h5", "a_master.h5"]


def test_a_folder_is_made_and_relative_ones_are_made_absolute(tmp_path: Path) -> None:
    task = SaveHdf5(folder="new/deep", prefix="x").absolute(tmp_path)
    task.check()
    assert task.folder == str(tmp_path / "new" / "deep")
    assert Path(saved(task, [block(1, SPEC)])).parent == tmp_path / "new" / "deep"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="no folder") as caught:
            SaveHdf5(folder=str(folder)).check()
        with pytest.raises(ConfigError, match="cannot be written") as late:
            SaveHdf5(folder=str(folder)).open(SPEC, Place("file"))
        for error in (caught.value, late.value):
            assert (error.field, error.value) == ("folder", str(folder))
            assert error.allowed == "a folder that can be made and written"


@pytest.mark.parametrize("prefix", ["", "a/b", "../up", "/root"])
def test_a_prefix_is_no_path(prefix: str) -> None:
    with pytest.raises(ConfigError, match="prefix") as caught:
        SaveHdf5(folder="out", prefix=prefix)
    assert (caught.value.field, caught.value.value) == ("prefix", prefix)
    assert caught.value.allowed == "a name without folders"


def test_the_effective_parameters_name_every_choice() -> None:
    told = SaveHdf5(folder="/out").effective(SPEC)
    assert told["compression"] == "bshuf_lz4"
    assert told["nb_frames_per_file"] == 1000
    assert told["file_exists_policy"] == "abort"
    assert told["nb_dimensions"] == "dim_3d_or_4d"


def test_a_dead_worker_s_files_of_an_older_run_are_not_taken_for_its_own(tmp_path: Path) -> None:
    old = SaveHdf5(folder=str(tmp_path), prefix="r")
    saved(old, [Frames.of(np.full((3, 1, 4, 5), 7, "u2"))])
    new = old.replace(file_exists_policy="append")
    place = Place("file", uuid="later", rank=0, ranks=2)
    writer = new.open(SPEC, place)
    writer.write([writer.encode(Frames.of(np.full((2, 1, 4, 5), 9, "u2"), first=4))])
    writer.close()  # it has died: nobody hands its part on
    other = new.open(SPEC, Place("file", uuid="later", rank=1, ranks=2))
    parts = [other.close()]
    assert new.recover(SPEC, place, 0).numbers.tolist() == [4, 5]
    ledger = Ledger(6)
    ledger.finish("detector")
    new.join(SPEC, place, parts, record(ledger, 6))
    with h5py.File(new.path()) as file:
        frames = file["entry_2/data/data"][()]
    assert frames[:, 0, 0].tolist() == [65535] * 4 + [9, 9]


def test_a_run_that_ends_last_keeps_what_others_have_added_meanwhile(tmp_path: Path) -> None:
    first = SaveHdf5(folder=str(tmp_path), prefix="r")
    first.check()
    place = Place("file", uuid="first")
    writer = first.open(SPEC, place)
    writer.write([writer.encode(block(1, SPEC, 6))])
    saved(first.replace(file_exists_policy="append"), [block(2, SPEC, 4)])
    ledger = Ledger(6)
    ledger.mark(0, 6, Status.PRESENT)
    first.join(SPEC, place, [writer.close()], record(ledger, 6, uuid="first"))
    with h5py.File(first.path()) as file:
        assert sorted(file) == ["entry", "entry_2"]
        np.testing.assert_array_equal(file["entry/data/data"], block(2, SPEC, 4).pixels[:, 0])
        np.testing.assert_array_equal(file["entry_2/data/data"], block(1, SPEC, 6).pixels[:, 0])
