"""Plain functions as tasks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from harness import Collect, Collector, chained, run
from strategies import block

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Labels, Spec, Status
from limadask.geometry import Grid
from limadask.pipeline import Pipeline, plan
from limadask.task import Products, dataset, empty, task

SPEC = Spec(Grid((4, 6)).crop(1, 1, 3, 4), np.dtype("u2"), ("a", "b"), 9)


@task
def gain(block: xr.DataArray, factor: float = 2.0, offset: int = 0) -> xr.DataArray:
    """Multiply."""
    return block * factor + offset


@task
def right_half(block: xr.DataArray) -> xr.DataArray:
    return block.isel(x=slice(2, None))


@task
def centre(block: xr.DataArray, names: list[str]) -> xr.Dataset:
    total = block.sum(("y", "x"))
    rows = block.sum("x").drop_vars("band")
    return xr.Dataset(
        {
            "total": (("frame", "band"), total.values, {"units": "photon"}),
            "rows": (("frame", "band", "row"), rows.values),
            "names": (("frame", "label"), np.ones((block.sizes["frame"], len(names)), "i4")),
        },
        {"label": names},
    )


def test_the_arguments_after_the_block_are_its_fields() -> None:
    assert gain() == gain(factor=2.0, offset=0)
    assert gain(factor="3").factor == 3.0
    assert gain.task_name() == "gain"
    assert gain.__doc__ == "Multiply."
    with pytest.raises(ConfigError) as caught:
        gain(factor="much")
    assert (caught.value.field, caught.value.value) == ("factor", "much")
    with pytest.raises(ConfigError) as caught:
        gain(faktor=3)
    assert caught.value.allowed == ["factor", "offset"]
    with pytest.raises(ConfigError) as caught:
        centre()
    assert caught.value.field == "names"


def test_its_plan_is_a_trial() -> None:
    planned = gain().plan(SPEC)
    assert isinstance(planned, Spec)
    assert planned.dtype == np.dtype("f8")
    assert (planned.grid, planned.bands, planned.nb_frames) == (SPEC.grid, SPEC.bands, 9)
    half = right_half().plan(SPEC)
    assert isinstance(half, Spec)
    assert half.grid == SPEC.grid.crop(0, 2, 3, 2)


def test_frames_run_through_it() -> None:
    frames = block(1, SPEC, 9)
    result = run(chained(right_half(), gain(factor=0.5, offset=1)), [frames[:4], frames[4:]], SPEC)
    assert result.failures == []
    np.testing.assert_array_equal(result.frames.pixels, frames.pixels[..., 2:] * 0.5 + 1)


@task
def bare(block: xr.DataArray) -> xr.DataArray:
    """Return no more than pixels and frame numbers."""
    return xr.DataArray(block.values, {"frame": block["frame"].values}, block.dims)


def test_what_is_known_of_frames_is_known_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    collectors: list[Collector] = []
    monkeypatch.setattr(Collect, "open", lambda *_: collectors.append(Collector()) or collectors[0])
    frames = block(1, SPEC, 4)
    frames.status[2], frames.causes = Status.PARTIAL, {2: "packets_lost"}
    run(chained(bare()), [frames], SPEC)
    (told,) = collectors[0].parts
    assert told.status.tolist() == frames.status.tolist()
    assert told.timestamps.tolist() == frames.timestamps.tolist()
    assert told.causes == frames.causes


def test_by_products_are_planned_with_their_labels_and_sizes() -> None:
    promised = centre(names=["x", "y", "z"]).plan(SPEC)
    assert isinstance(promised, Products)
    told = {name: (one.dims, one.dtype.str, one.units) for name, one in promised.variables.items()}
    assert told == {
        "total": (("band",), "<u8", "photon"),
        "rows": (("band", "row"), "<u8", ""),
        "names": (("label",), "<i4", ""),
    }
    assert list(promised.coordinates["label"][1]) == ["x", "y", "z"]
    nothing = empty(promised)
    assert {name: values.shape for name, values in nothing.items()} == {
        "total": (0, 2),
        "rows": (0, 2, 3),
        "names": (0, 3),
    }
    assert dataset(promised, np.empty(0, "i8"), nothing)["rows"].dims == ("frame", "band", "row")


def test_by_products_come_out_as_planned() -> None:
    frames = block(1, SPEC, 9, first=4)
    pipe = Pipeline()
    pipe.add("centre", centre(names=["x"]))
    result = run(pipe, [frames[:5], frames[5:]], SPEC.replace(nb_frames=None))
    numbers, values = result.products("centre")
    assert numbers.tolist() == list(range(4, 13))
    np.testing.assert_array_equal(values["total"], frames.pixels.sum(axis=(2, 3)))
    np.testing.assert_array_equal(values["rows"], frames.pixels.sum(axis=3))


def test_a_mapping_makes_by_products_too() -> None:
    @task
    def top(block: xr.DataArray) -> dict[str, Any]:
        return {"top": ("frame", block.values.max(axis=(1, 2, 3)))}

    frames = block(1, SPEC, 4)
    pipe = Pipeline()
    pipe.add("top", top())
    values = run(pipe, [frames], SPEC).products("top")[1]
    assert values["top"].tolist() == frames.pixels.max(axis=(1, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        (lambda block: 5, "must return a DataArray.*returned int"),
        (lambda block: None, "returned NoneType"),
        (lambda block: block.values, "returned ndarray"),
        (lambda block: block.isel(band=0), r"returned \('frame', 'y', 'x'\)"),
        (
            lambda block: xr.Dataset({"a": ("x", [1, 2])}),
            "'a' of .* must have 'frame' as its first",
        ),
        (lambda block: xr.Dataset({"a": 5}), "must have 'frame'"),
        (lambda block: block / "a", "failed on a blank frame"),
        (lambda block: 1 / 0, "ZeroDivisionError"),
    ],
    ids=["int", "None", "array", "dims", "no frame dim", "scalar", "type error", "zero division"],
)
def test_a_bad_return_is_refused_beforehand(returned: Any, match: str) -> None:
    def spoilt(block: xr.DataArray) -> Any:
        return returned(block)

    with pytest.raises(ConfigError, match=match) as caught:
        plan(chained(task(spoilt)(), collect=False), SPEC)
    assert caught.value.node == "n0"


CHANGED: dict[str, Any] = {
    "another length": lambda block: {"a": ("frame", np.zeros(len(block) + 1))},
    "another type": lambda block: {"a": ("frame", np.zeros(len(block), "i4"))},
    "another dimension": lambda block: {"a": (("frame", "u"), np.zeros((len(block), 1)))},
    "another name": lambda block: {"b": ("frame", np.zeros(len(block)))},
    "other frames": lambda block: xr.Dataset(
        {"a": ("frame", np.zeros(len(block)))}, {"frame": block["frame"].values + 1}
    ),
    "nothing": lambda block: None,
}


@pytest.mark.parametrize("what", CHANGED)
def test_by_products_that_were_not_planned_are_a_failure(what: str) -> None:
    @task
    def changes(block: xr.DataArray) -> Any:
        if (block == 0).all():  # the trial
            return {"a": ("frame", np.zeros(len(block)))}
        return CHANGED[what](block)

    pipe = Pipeline()
    pipe.add("bad", changes())
    pipe.add("good", Collect())
    frames = block(1, SPEC, 4)
    result = run(pipe, [frames], SPEC)
    assert [(one.node, one.first, one.last) for one in result.failures] == [("bad", 0, 3)]
    assert result.outcomes[0].products == {}
    assert result.collected["good"] is not None


def test_a_labelled_block_can_be_given_to_it_directly() -> None:
    frames = block(1, SPEC, 2)
    np.testing.assert_array_equal(gain(factor=3)(Labels(SPEC)(frames)), frames.pixels * 3.0)


def test_it_can_be_pickled() -> None:
    import cloudpickle

    twin = pickle.loads(cloudpickle.dumps(gain(factor=7)))
    assert twin.factor == 7.0
    frames = block(1, SPEC, 2)
    np.testing.assert_array_equal(twin(Labels(SPEC)(frames)), frames.pixels * 7.0)


def test_a_function_may_yield_tables_of_any_length() -> None:
    @ld.task
    def bright(block: xr.DataArray, above: float = 5) -> xr.Dataset:
        frame, _, y, x = np.nonzero(block.values > above)
        count = np.bincount(frame, minlength=block.sizes["frame"])
        return xr.Dataset(
            {
                "found": ("frame", count, {"sample_dimension": "pixel"}),
                "y": ("pixel", y, {"units": "pixel"}),
                "x": ("pixel", x),
            }
        )

    frames = np.zeros((5, 4, 6), "u2")
    frames[1, 2, 3] = frames[1, 3, 5] = frames[4, 0, 1] = 9
    pipe = ld.Pipeline()
    pipe.add("bright", bright())
    found = ld.process(frames, pipe)["bright"]
    assert found["found"].values.tolist() == [0, 2, 0, 0, 1]
    assert found["y"].values.tolist() == [2, 3, 0]
    assert found["x"].values.tolist() == [3, 5, 1]
    assert found["y"].attrs["units"] == "pixel"


def test_a_table_without_as_many_rows_as_it_counts_is_refused() -> None:
    @ld.task
    def wrong(block: xr.DataArray) -> xr.Dataset:
        count = np.full(block.sizes["frame"], 2 if block.values.any() else 0)
        rows = np.zeros(1 if block.values.any() else 0)
        return xr.Dataset(
            {"found": ("frame", count, {"sample_dimension": "row"}), "value": ("row", rows)}
        )

    pipe = ld.Pipeline()
    pipe.add("wrong", wrong())
    (failure,) = ld.process(np.ones((1, 4, 6), "u2"), pipe).failures
    assert "planned the by-product 'value' {'row': 2} float64, returned {'row': 1}" in failure.text
