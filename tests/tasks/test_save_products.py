"""SaveHdf5 after by-products: values of each frame, and tables of any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import silx.io
import xarray as xr
from harness import record, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from silx.io.nxdata import get_default
from strategies import block, lacking

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Spec, Status
from limadask.geometry import Grid, Rect
from limadask.ledger import Ledger
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, plan
from limadask.pipeline.program import Program
from limadask.storage import rescue
from limadask.storage.data_file import DataFile
from limadask.task import Place, Products, Rows, Task, Variable, chosen, dataset
from limadask_tasks import Accumulate, FindPeaks, MinIntensity, Observe, RoiStatistics, SaveHdf5

SPEC = Spec(Grid((8, 9)), np.dtype("u2"), nb_frames=12)
STATS = RoiStatistics(rois=[Rect(0, 0, 3, 3), Rect(2, 2, 4, 4)])
PEAKS = FindPeaks(threshold=700)
TABLE = Products(
    {
        "count": Variable((), np.dtype("u2")),
        "curve": Variable(("q",), np.dtype("f4"), "counts"),
        "flag": Variable((), np.dtype(bool)),
        "y": Variable(("peak",), np.dtype("f8"), "pixel"),
        "pair": Variable(("peak", "end"), np.dtype("i4")),
    },
    {"q": (("q",), np.linspace(0, 1, 5)), "end": (("end",), ["a", "b"])},
    {"q": "1/nm"},
    {"peak": "count"},
    SPEC,
)


def saver(folder: Path, entry: str = "entry", **more: Any) -> SaveHdf5:
    return SaveHdf5(folder=str(folder), prefix="run", entry=entry, **more)


def pipeline(folder: Path, task: Task, **more: Any) -> Pipeline:
    pipe = Pipeline()
    pipe.add("found", task)
    pipe.add("file", saver(folder, **more), after="found")
    return pipe


def rows(seed: int, numbers: list[int]) -> Rows:
    """Random by-products of some frames."""
    random = np.random.default_rng(seed)
    count = len(numbers)
    lengths = random.integers(0, 4, count).astype("u2")
    total = int(lengths.sum())
    return Rows(
        np.array(numbers),
        np.array(numbers) * 1000,
        np.full(count, Status.PRESENT, np.uint8),
        {
            "count": lengths,
            "curve": random.random((count, 5)).astype("f4"),
            "flag": random.random(count) < 0.5,
            "y": random.random(total),
            "pair": random.integers(0, 100, (total, 2)).astype("i4"),
        },
    )


def opened(path: str | Path, entry: str = "entry") -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", group=f"{entry}/data") as found:
        return found.load()


@given(
    blocks=st.lists(
        st.tuples(st.integers(0, 2), st.sets(st.integers(0, 11), max_size=5).map(sorted)),
        max_size=7,
    ),
    per_file=st.integers(1, 7),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_all_ranks_rows_are_joined_by_frame(
    blocks: list[tuple[int, list[int]]], per_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    task = saver(folder, nb_frames_per_file=per_file)
    writers = [task.open(TABLE, Place("file", "uuid", rank, 3)) for rank in range(3)]
    taken: set[int] = set()
    saved = list[Rows]()
    for seed, (rank, wanted) in enumerate(blocks):
        if numbers := [one for one in wanted if one not in taken]:
            taken |= set(numbers)
            saved.append(rows(seed, numbers))
            writers[rank].write([writers[rank].encode(saved[-1])])
    ledger = Ledger(12)
    for number in taken:
        ledger.mark(number, number + 1, Status.PRESENT)
    ledger.finish("detector")
    parts = [writer.close() for writer in writers]
    task.join(TABLE, Place("file", "uuid", ranks=3), parts, record(ledger, 12, uuid="uuid"))
    found = opened(task.path())
    present = np.array(sorted(taken), int)
    status = np.full(12, Status.ABSENT)
    status[present] = Status.PRESENT
    assert found["frame_status"].values.tolist() == status.tolist()
    absent = np.flatnonzero(status == Status.ABSENT)
    assert not found["count"].values[absent].any()
    assert np.isnan(found["curve"].values[absent]).all()
    assert (found["flag"].values[absent] == 255).all()
    assert found["count"].attrs["sample_dimension"] == "peak"
    if not saved:
        assert found.sizes["peak"] == 0
        return
    whole = Rows.joined(saved)
    order = np.argsort(whole.numbers)
    expected = dataset(TABLE, present, chosen(TABLE, whole.values, order))
    for name in ("curve", "flag", "count"):
        np.testing.assert_array_equal(found[name].isel(frame=present), expected[name])
    for name in ("y", "pair"):
        np.testing.assert_array_equal(found[name], expected[name])
    for name, units in (("curve", "counts"), ("y", "pixel"), ("q", "1/nm")):
        assert found[name].attrs["units"] == units == expected[name].attrs["units"]
    assert found["end"].values.tolist() == ["a", "b"]


def test_what_streams_is_what_is_saved_beside_its_frames(tmp_path: Path) -> None:
    frames = block(1, SPEC, 12, top=1000).pixels
    pipe = pipeline(tmp_path, STATS, entry="stats", nb_frames_per_file=5)
    pipe.add("frames", saver(tmp_path, nb_frames_per_file=5))
    pipe.add("peaks", PEAKS)
    pipe.add("peak_file", saver(tmp_path, "peaks", nb_frames_per_file=5), after="peaks")
    result = ld.process(frames, pipe)
    assert result.failures == []
    for path in tmp_path.glob("run_0_*.h5"):
        with h5py.File(path) as file:
            assert sorted(file) == ["entry", "peaks", "stats"]
            numbers = [file[f"{name}/frames/frame_number"] for name in ("peaks", "stats")]
            numbers.append(file["entry/instrument/detector/frame_number"])
            assert max(map(len, numbers)) <= 5
    tree = ld.open(result.files["file"])
    np.testing.assert_array_equal(tree["entry/data"]["data"], frames[:, 0])
    for node, entry in (("found", "stats"), ("peaks", "peaks")):
        streamed, saved = result[node], tree[f"{entry}/data"].to_dataset()
        assert isinstance(streamed, xr.Dataset)
        for name, one in streamed.data_vars.items():
            np.testing.assert_array_equal(saved[name], one)
            assert saved[name].dims == one.dims
        assert saved["frame_cause"].values.tolist() == [""] * 12
        assert (opened(result.files["file"], entry)["frame_status"] == Status.PRESENT).all()
    assert result["peaks"].sizes["peak"] > 12


def test_silx_shows_curves(tmp_path: Path) -> None:
    @ld.task
    def curves(block: xr.DataArray) -> dict[str, Any]:
        q = xr.Variable("q", np.linspace(0, 2, 9))
        signal = block.sum("y").isel(band=0).rename(x="q")
        return {"signal": signal.drop_vars(["band"], errors="ignore").assign_coords(q=q)}

    frames = block(1, SPEC, 4, top=1000).pixels
    pipe = pipeline(tmp_path, STATS, entry="stats")
    pipe.add("curves", curves())
    pipe.add("curve_file", saver(tmp_path, "curves"), after="curves")
    result = ld.process(frames, pipe)
    assert result.failures == []
    with silx.io.open(result.files["file"]) as file:
        shown = get_default(file)
        assert shown.is_valid
        assert (shown.signal_name, shown.auxiliary_signals_names) == ("min 0", ["min 1"])
        assert shown.is_curve
        np.testing.assert_array_equal(shown.signal, result["found"]["min"].values[:, 0, 0])
        np.testing.assert_array_equal(
            shown.auxiliary_signals[0], result["found"]["min"].values[:, 0, 1]
        )
        shown = get_default(file["curves"])
        assert shown.is_valid
        assert (shown.signal.shape, shown.interpretation) == ((4, 9), "spectrum")
        np.testing.assert_array_equal(shown.axes[1], np.linspace(0, 2, 9))
        np.testing.assert_array_equal(shown.signal, frames[:, 0].sum(axis=1))


def test_frames_that_lack_pixels_have_their_rows_too(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), bool)
    mask[:4] = True
    frames = lacking(block(1, SPEC, 6, top=1000), {2: mask, 3: mask})
    frames.causes = {2: "packets_lost", 3: "packets_lost"}
    pipe = pipeline(tmp_path, STATS)
    program = Program(plan(pipe, SPEC), Policy(), "uuid")
    outcome = program.run(frames)
    parts = program.close()
    assert outcome.failures == []
    ledger = Ledger(6)
    ledger.mark_frames(outcome.numbers, outcome.status(), outcome.cause)
    (node,) = (one for one in program.plan.nodes if one.name == "file")
    place = Place("file", "uuid")
    node.task.join(node.given, place, [parts["file"]], record(ledger, 6, uuid="uuid"))  # type: ignore[attr-defined]
    found = opened(tmp_path / "run_master.h5")
    assert found["frame_status"].values.tolist() == [1, 1, 2, 2, 1, 1]
    assert found["frame_cause"].astype(str).values.tolist()[2:4] == ["packets_lost"] * 2
    assert found["count"].values[:, 0, 0].tolist() == [9, 9, 0, 0, 9, 9]
    assert found["count"].values[:, 0, 1].tolist() == [16, 16, 8, 8, 16, 16]


@pytest.mark.parametrize("vetoed", ["skip", "keep"])
def test_rows_of_vetoed_frames(tmp_path: Path, vetoed: Any) -> None:
    frames = np.ones((4, 1, 8, 9), "u2")
    frames[1:3, :, 4, 4] = 1000
    pipe = Pipeline()
    pipe.add("hits", MinIntensity(minimum=900))
    pipe.add("peaks", PEAKS, after="hits")
    pipe.add("file", saver(tmp_path, vetoed=vetoed), after="peaks")
    result = ld.process(frames, pipe)
    assert result["peaks"]["count"].values.tolist() == [0, 1, 1, 0]
    found = opened(result.files["file"])
    assert found["frame_status"].values.tolist() == [4, 1, 1, 4]
    assert found["frame_cause"].astype(str).values.tolist() == ["veto:hits", "", "", "veto:hits"]
    assert found["y"].values.tolist() == [4, 4]
    with h5py.File(tmp_path / "run_0_00000.h5") as file:
        kept = file["entry/frames/frame_number"][()].tolist()
    assert kept == ([1, 2] if vetoed == "skip" else [0, 1, 2, 3])


def test_rows_of_sums(tmp_path: Path) -> None:
    pipe = Pipeline()
    pipe.add("sum", Accumulate(nb_frames=3))
    pipe.add("stats", STATS, after="sum")
    pipe.add("file", saver(tmp_path), after="stats")
    result = ld.process(np.ones((7, 8, 9), "u2"), pipe)
    found = opened(result.files["file"])
    assert found["sum"].values[:, 0, 0].tolist() == [27, 27, 9]
    assert found["frame_status"].values.tolist() == [1, 1, 2]


def test_a_saver_that_fails_costs_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DataFile.append

    def append(self: DataFile, entry: str, part: Any, *given: Any) -> int:
        if 3 in part.numbers:
            raise OSError(28, "No space left on device")
        return real(self, entry, part, *given)

    monkeypatch.setattr(DataFile, "append", append)
    result = run(
        pipeline(tmp_path, STATS), [block(1, SPEC, 12)[n : n + 3] for n in (0, 3, 6)], SPEC
    )
    assert [one.status().tolist() for one in result.outcomes] == [[1] * 3, [2] * 3, [1] * 3]
    assert result.products("found")[0].tolist() == list(range(9))


def test_recover_makes_the_master_of_by_products(tmp_path: Path) -> None:
    frames = block(1, SPEC, 12, top=1000).pixels
    pipe = pipeline(tmp_path, PEAKS, entry="peaks")
    pipe.add("frames", saver(tmp_path))
    pipe.add("stats", STATS)
    pipe.add("stats_file", saver(tmp_path, "stats"), after="stats")
    result = ld.process(frames, pipe)
    master = Path(result.files["file"])
    before = {entry: opened(master, entry) for entry in ("peaks", "entry", "stats")}
    master.unlink()
    made = rescue(tmp_path, force=True).made
    assert [(one.entry, one.frames["present"]) for one in made] == [
        ("entry", 12),
        ("peaks", 12),
        ("stats", 12),
    ]
    for entry, one in before.items():
        xr.testing.assert_identical(opened(master, entry), one)


def test_frames_whose_rows_are_not_all_there_are_left_out(tmp_path: Path) -> None:
    """As where the writer was killed between two flushes."""
    task = saver(tmp_path)
    writer = task.open(TABLE, Place("file", "uuid"))
    part = rows(3, list(range(8)))
    writer.write([part])
    writer.close()
    counts = part.values["count"]
    for dropped, left in ((0, 8), (1, 7)):
        with h5py.File(tmp_path / "run_0_00000.h5", "r+") as file:
            y = file["entry/frames/values/y"]
            y.resize(int(counts.sum()) - dropped, axis=0)
        assert counts[-1]
        assert task.recover(TABLE, Place("file", "uuid"), 0).numbers.tolist() == list(range(left))


def refused(pipe: Pipeline) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        plan(pipe, SPEC)
    return caught.value


def test_only_sinks_that_say_so_take_by_products() -> None:
    pipe = Pipeline()
    pipe.add("stats", STATS)
    pipe.add("live", Observe(), after="stats")
    error = refused(pipe)
    assert (error.node, error.field, error.value) == ("live", "after", "stats")
    assert "observe takes frames, and 'stats' yields by-products" in error.message
    pipe = Pipeline()
    pipe.add("stats", STATS)
    pipe.add("again", STATS, after="stats")
    assert "yields no frames" in refused(pipe).message


class Odd(Task):
    """Promises what it is told to."""

    products: Any

    def plan(self, spec: Spec) -> Products:
        return Products(*self.products)


@pytest.mark.parametrize(
    ("products", "text"),
    [
        (({"a": Variable((), np.dtype("U3"))},), "'a' is no number"),
        (({"a": Variable(("q",), np.dtype("f4"))},), "without labels"),
        (({"frame": Variable((), np.dtype("f4"))},), "cannot have this name"),
        (({"a/b": Variable((), np.dtype("f4"))},), "cannot have this name"),
        (({"y": Variable(("n",), np.dtype("f4"))}, {}, {}, {"n": "y"}), "value for each frame"),
    ],
)
def test_by_products_that_hdf5_cannot_hold_are_refused(
    tmp_path: Path, products: Any, text: str
) -> None:
    error = refused(pipeline(tmp_path, Odd(products=products)))
    assert (error.node, error.field) == ("file", "after")
    assert text in error.message
