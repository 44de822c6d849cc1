"""Savers that write the same files, each an entry of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from harness import record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from silx.io.nxdata import get_default
from strategies import block

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, plan
from limadask.pipeline.program import Program
from limadask.storage import rescue
from limadask.storage.data_file import DataFile
from limadask.task import Opening, Place, Sink, Writer
from limadask_tasks import Accumulate, Flip, Observe, SaveHdf5

SPEC = Spec(Grid((4, 5)), np.dtype("u2"), nb_frames=12)
BOTH = ("entry", "sums")


def saver(folder: Path, entry: str = "entry", **more: Any) -> SaveHdf5:
    return SaveHdf5(folder=str(folder), prefix="run", entry=entry, **more)


def two_savers(folder: Path, **more: Any) -> Pipeline:
    """Frames as they come, and sums of three of them."""
    pipe = Pipeline()
    pipe.add("file", saver(folder, **more))
    pipe.add("sum", Accumulate(nb_frames=3))
    pipe.add("sums", saver(folder, "sums", compression="zip", **more), after="sum")
    return pipe


def refused(pipe: Pipeline) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        plan(pipe, SPEC)
    return caught.value


def numbers(folder: Path, entry: str) -> list[list[int]]:
    """Frame numbers in each data file."""
    found = []
    for path in sorted(folder.glob("run_[0-9]*.h5")):
        with h5py.File(path) as file:
            found.append(file[f"{entry}/instrument/detector/frame_number"][()].tolist())
    return found


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    per_file=st.integers(1, 8),
    ranks=st.integers(1, 3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_both_entries_hold_their_frames_whatever_the_files(
    sizes: list[int], per_file: int, ranks: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, count = tmp_path_factory.mktemp("both"), sum(sizes)
    spec = SPEC.replace(nb_frames=count)
    twice = spec.replace(dtype=np.dtype("u4"))
    savers = [saver(folder, name, nb_frames_per_file=per_file) for name in BOTH]
    writers = []
    for rank in range(ranks):
        openings = [
            Opening(one, given, Place(one.entry, "uuid", rank, ranks))
            for one, given in zip(savers, (spec, twice), strict=True)
        ]
        writers.append(SaveHdf5.open_together(openings))
    whole, first = block(1, spec, count), 0
    for turn, size in enumerate(sizes):
        part = whole[first : first + size]
        for writer, dtype in zip(writers[turn % ranks], ("u2", "u4"), strict=True):
            frames = part.carrying(part.pixels.astype(dtype) * (1 if dtype == "u2" else 2))
            writer.write([writer.encode(frames)])
        first += size
    ledger = ld.ledger.Ledger(count)
    ledger.mark(0, count, Status.PRESENT)
    parts = [[one.close() for one in mine] for mine in writers]
    for number, one in enumerate(savers):
        place = Place(one.entry, "uuid", ranks=ranks)
        mine = [rank[number] for rank in parts]
        one.join((spec, twice)[number], place, mine, record(ledger, count, uuid="uuid"))
    assert all(len(some) <= per_file for name in BOTH for some in numbers(folder, name))
    with h5py.File(savers[0].path()) as file:
        assert file.attrs["default"] == "entry"
        assert sorted(file) == list(BOTH)
        np.testing.assert_array_equal(file["entry/data/data"], whole.pixels[:, 0])
        doubled = whole.pixels[:, 0].astype("u4") * 2
        np.testing.assert_array_equal(file["sums/data/data"], doubled)


def test_a_pipeline_writes_one_set_of_files(tmp_path: Path) -> None:
    frames = block(1, SPEC, 12, top=1000)
    result = ld.process(frames.pixels, two_savers(tmp_path, nb_frames_per_file=5))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"run_0_{number:05d}.h5" for number in range(3)] + ["run_master.h5"]
    assert result.files["file"] == result.files["sums"] == str(tmp_path / "run_master.h5")
    tree = ld.open(result.files["file"])
    np.testing.assert_array_equal(tree["entry/data"]["data"], frames.pixels[:, 0])
    summed = frames.pixels[:, 0].reshape(4, 3, 4, 5).sum(axis=1)
    np.testing.assert_array_equal(tree["sums/data"]["data"], summed)
    shown = get_default(ld_open := h5py.File(result.files["file"]))
    assert shown.signal.shape == (12, 4, 5)
    ld_open.close()
    again = ld.process(tree["sums"], Pipeline())  # an entry by itself
    np.testing.assert_array_equal(again["input"].values[:, 0], summed)


def test_further_runs_have_entries_of_their_own(tmp_path: Path) -> None:
    frames = block(1, SPEC, 6).pixels
    for _ in range(2):
        ld.process(frames, two_savers(tmp_path, file_exists_policy="append"))
    ld.process(frames[:3], two_savers(tmp_path, file_exists_policy="append"))
    with h5py.File(tmp_path / "run_master.h5") as file:
        assert sorted(file) == ["entry", "entry_2", "entry_3", "sums", "sums_2", "sums_3"]
        assert file.attrs["default"] == "entry_3"
        told = {name: one["entry_identifier"][()] for name, one in file.items()}
        assert [told[f"entry{run}"] == told[f"sums{run}"] for run in ("", "_2", "_3")] == [True] * 3
        assert [len(file[name]["data/data"]) for name in ("entry_2", "sums_2", "sums_3")] == [
            6,
            2,
            1,
        ]
    ld.process(frames, two_savers(tmp_path, file_exists_policy="overwrite"))
    with h5py.File(tmp_path / "run_master.h5") as file:
        assert sorted(file) == list(BOTH)


def test_a_name_that_another_run_has_taken_is_numbered_on(tmp_path: Path) -> None:
    frames = block(1, SPEC, 3).pixels
    pipe = Pipeline()
    pipe.add("file", saver(tmp_path, file_exists_policy="append"))
    ld.process(frames, pipe)
    pipe.add("other", saver(tmp_path, "entry_2", file_exists_policy="append"))
    ld.process(frames, pipe)
    with h5py.File(tmp_path / "run_master.h5") as file:
        nodes = {name: one["process/node"].asstr()[()] for name, one in file.items()}
    assert nodes == {"entry": "file", "entry_2": "file", "entry_2_2": "other"}


def test_an_entry_is_written_by_one_saver(tmp_path: Path) -> None:
    pipe = Pipeline()
    pipe.add("one", saver(tmp_path, "a"))
    pipe.add("two", saver(tmp_path / "x" / "..", "a"), after="input")
    error = refused(pipe)
    assert (error.node, error.field, error.value) == ("two", "entry", "a")
    assert "as 'one'" in error.message


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [("file_exists_policy", "append", "overwrite"), ("nb_frames_per_file", 10, 11)],
)
def test_savers_of_the_same_files_agree_on_them(
    tmp_path: Path, field: str, one: Any, other: Any
) -> None:
    pipe = Pipeline()
    pipe.add("one", saver(tmp_path, "a", **{field: one}))
    pipe.add("two", saver(tmp_path, "b", **{field: other}))
    error = refused(pipe)
    assert (error.node, error.field, error.value, error.allowed) == ("two", field, other, [one])
    assert "as 'one'" in error.message


def test_a_saver_of_another_kind_has_files_of_its_own(tmp_path: Path) -> None:
    class Other(Sink):
        def path(self) -> str:
            return str(tmp_path / "run_master.h5")

        def open(self, spec: Spec, place: Place) -> Writer:
            raise NotImplementedError

    for tasks in ((saver(tmp_path), Other()), (Other(), saver(tmp_path)), (Other(), Other())):
        pipe = Pipeline()
        for number, task in enumerate(tasks):
            pipe.add(f"n{number}", task)
        error = refused(pipe)
        assert (error.node, error.field) == ("n1", "prefix")
        assert "same files as 'n0'" in error.message


@pytest.mark.parametrize("entry", ["", "a/b", "a b", "1st", ".."])
def test_an_entry_is_a_name(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        saver(tmp_path, entry)
    assert (caught.value.field, caught.value.value) == ("entry", entry)


def test_sinks_that_write_nothing_together_are_opened_one_by_one(tmp_path: Path) -> None:
    pipe = two_savers(tmp_path)
    pipe.add("other", SaveHdf5(folder=str(tmp_path), prefix="other"))
    pipe.add("live", Observe())
    program = Program(plan(pipe, SPEC), Policy())
    program.run(block(1, SPEC, 12))
    paths = {node: part.get("files") for node, part in program.close().items()}
    assert paths["file"] == paths["sums"] == [str(tmp_path / "run_0_00000.h5")]
    assert paths["other"] == [str(tmp_path / "other_0_00000.h5")]
    assert paths["live"] is None


def test_what_is_in_the_way_of_a_set_is_told_by_its_first_saver(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        Program(plan(two_savers(tmp_path / "file"), SPEC), Policy())
    assert (caught.value.node, caught.value.field) == ("file", "folder")


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_an_error_of_one_entry_costs_the_other_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The file is let go of; the other's frames in it are safe, and later ones go to the next."""
    pipe = Pipeline()
    pipe.add("file", saver(tmp_path, compression="none"))
    pipe.add("up", Flip(axis="y"))
    pipe.add("flipped", saver(tmp_path, "flipped", compression="none"), after="up")
    program = Program(plan(pipe, SPEC), Policy())
    real, calls = DataFile.append, []

    def append(self: DataFile, entry: str, *given: Any) -> int:
        calls.append(entry)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return real(self, entry, *given)

    monkeypatch.setattr(DataFile, "append", append)
    outcomes = [program.run(block(1, SPEC, 12)[first : first + 3]) for first in (0, 3, 6)]
    told = [(one.node, one.first, one.last) for outcome in outcomes for one in outcome.failures]
    program.close()
    node, first = ("file", "flipped")[(failing - 1) % 2], (failing - 1) // 2 * 3
    assert told == [(node, first, first + 2)]
    for entry in ("entry", "flipped"):
        found = [number for some in numbers(tmp_path, entry) for number in some]
        lost = range(first, first + 3) if entry == calls[failing - 1] else ()
        assert found == [number for number in range(9) if number not in lost]


def test_recover_makes_the_entries_that_are_missing(tmp_path: Path) -> None:
    frames = block(1, SPEC, 12, top=1000).pixels
    ld.process(frames, two_savers(tmp_path))
    master = tmp_path / "run_master.h5"
    with h5py.File(master, "r+") as file:
        del file["sums"]
    made = rescue(tmp_path, force=True).made
    assert [(one.entry, one.frames["present"]) for one in made] == [("sums", 12)]
    with h5py.File(master) as file:
        assert file.attrs["default"] == "entry"
    master.unlink()
    made = rescue(tmp_path, force=True).made
    assert [one.entry for one in made] == list(BOTH)
    assert rescue(tmp_path, force=True).made == ()
    with h5py.File(master) as file:
        assert file.attrs["default"] == "entry"
        np.testing.assert_array_equal(file["entry/data/data"], frames[:, 0])
        assert file["sums/data/data"].shape == (4, 4, 5)
        assert file["sums/data/frame_status"][()].tolist() == [1] * 4


def test_what_a_dead_worker_saved_is_told_by_entry(tmp_path: Path) -> None:
    savers = [saver(tmp_path, name) for name in BOTH]
    openings = [Opening(one, SPEC, Place(one.entry, "uuid", 0, 1)) for one in savers]
    writers = SaveHdf5.open_together(openings)
    frames: Frames = block(1, SPEC, 6)
    for writer, part in zip(writers, (frames, frames[:2]), strict=True):
        writer.write([writer.encode(part)])
    found = [one.recover(SPEC, Place(one.entry, "uuid"), 0).numbers.tolist() for one in savers]
    assert found == [[0, 1, 2, 3, 4, 5], [0, 1]]
    for writer in writers:
        writer.close()
