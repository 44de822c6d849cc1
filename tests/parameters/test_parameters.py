"""What is asked, what is tolerated, and where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from limadask.errors import ConfigError
from limadask.geometry import Grid, Rect
from limadask.memory import HugeAllocator, MappedAllocator
from limadask.model import Model
from limadask.parameters import (
    AcquisitionParameters,
    Affinity,
    Binning,
    Buffers,
    HardwareParameters,
    ParameterSets,
    Policy,
    SoftwareParameters,
    Topology,
)

DEFAULTS: dict[type[BaseModel], dict[str, Any]] = {
    AcquisitionParameters: {
        "nb_frames": 1,
        "expo_time": None,
        "latency_time": 0.0,
        "trigger_mode": "internal",
        "nb_frames_per_trigger": 1,
        "roi": None,
        "binning": {"y": 1, "x": 1},
        "flip": "none",
        "rotation": 0,
    },
    Topology: {
        "receivers": 1,
        "workers": 1,
        "roles": "shared",
        "dispatch": "single",
        "affinity": {"receiver": "none", "processing": "none"},
    },
    Policy: {
        "on_absent": "mark",
        "on_error": "mark",
        "retries": 2,
        "max_absent": None,
        "on_overrun": "wait",
        "drop": "newest",
    },
    Buffers: {
        "nbytes": None,
        "least_nbytes": None,
        "nb_frames_per_block": None,
        "folder": None,
        "allocator": "auto",
    },
}


@pytest.mark.parametrize("model", DEFAULTS, ids=lambda model: model.__name__)
def test_the_defaults_are_those_that_users_were_told(model: type[BaseModel]) -> None:
    assert model().model_dump() == DEFAULTS[model]


@pytest.mark.parametrize("model", DEFAULTS, ids=lambda model: model.__name__)
def test_a_misspelt_field_lists_those_there_are(model: type[BaseModel]) -> None:
    with pytest.raises(ConfigError, match="has no field 'nb_frame'") as caught:
        model(nb_frame=3)
    error = caught.value
    assert (error.field, error.value, error.allowed) == ("nb_frame", 3, sorted(DEFAULTS[model]))


@pytest.mark.parametrize(
    ("model", "field", "value", "allowed"),
    [
        (AcquisitionParameters, "nb_frames", -1, "≥ 0"),
        (AcquisitionParameters, "nb_frames", 1.5, None),
        (AcquisitionParameters, "expo_time", -0.1, "≥ 0"),
        (AcquisitionParameters, "expo_time", float("nan"), "≥ 0"),
        (AcquisitionParameters, "nb_frames_per_trigger", 0, "> 0"),
        (AcquisitionParameters, "trigger_mode", "never", "'internal', 'software', 'external'"),
        (AcquisitionParameters, "flip", "z", "'none', 'y', 'x' or 'both'"),
        (AcquisitionParameters, "rotation", 45, "0, 90, 180 or 270"),
        (Topology, "receivers", 0, "> 0"),
        (Topology, "workers", 0, "> 0"),
        (Topology, "roles", "mine", "'shared' or 'separate'"),
        (Policy, "on_error", "ignore", "'abort', 'mark' or 'retry'"),
        (Policy, "retries", -1, "≥ 0"),
        (Policy, "max_absent", 1.5, None),
        (Policy, "on_overrun", "ignore", "'wait', 'pause', 'drop', 'hold' or 'abort'"),
        (Policy, "drop", "oldest", "on_overrun: drop beside it, or nothing"),
        (Policy, "max_absent", -0.5, None),
        (Buffers, "nbytes", "many", None),
        (Buffers, "nb_frames_per_block", 0, "> 0"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    model: type[BaseModel], field: str, value: Any, allowed: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**{field: value})
    error = caught.value
    assert error.field == field
    assert error.value is value
    assert allowed is None or allowed in error.allowed
    assert field in str(error)
    assert error.message


def test_a_wrong_value_inside_is_named_by_its_way() -> None:
    with pytest.raises(ConfigError) as caught:
        AcquisitionParameters(binning={"y": 0})
    assert (caught.value.field, caught.value.value) == ("binning.y", 0)
    with pytest.raises(ConfigError) as caught:
        AcquisitionParameters(roi={"y": 0, "x": 0, "height": 0, "width": 4})
    assert (caught.value.field, caught.value.value) == ("roi.height", 0)


def test_parameters_are_values_and_a_copy_is_validated() -> None:
    one = AcquisitionParameters(nb_frames=10, roi={"y": 1, "x": 2, "height": 3, "width": 4})
    assert one.roi == Rect(1, 2, 3, 4)
    more = one.replace(nb_frames=20, binning={"y": 2})
    assert (one.nb_frames, more.nb_frames, more.binning) == (10, 20, Binning(y=2))
    assert more.replace(nb_frames=10, binning=Binning()) == one
    with pytest.raises(ConfigError) as caught:
        one.replace(nb_frames=-1)
    assert caught.value.field == "nb_frames"


@given(st.integers(1, 50), st.sampled_from(["shared", "separate"]))
def test_workers_that_receive_and_process_are_counted_once(workers: int, roles: Any) -> None:
    needed = Topology(workers=workers, roles=roles).nb_workers
    assert needed == (max(1, workers) if roles == "shared" else 1 + workers)


def test_a_float_is_a_fraction_and_an_integer_a_number() -> None:
    assert type(Policy(max_absent=1).bound) is int
    assert type(Policy(max_absent=1.0).bound) is float
    assert Policy(max_absent=0.0).bound == 0
    assert Policy().bound is None


def test_abort_allows_no_absent_frame() -> None:
    assert Policy(on_absent="abort").bound == 0
    assert Policy(on_absent="abort", max_absent=0.5).bound == 0


@pytest.mark.parametrize(
    ("given", "nbytes"), [(1000, 1000), ("512 MiB", 2**29), ("1.5GiB", 3 * 2**29), ("2 kB", 2000)]
)
def test_bytes_are_numbers_or_have_units(given: Any, nbytes: int) -> None:
    assert Buffers(nbytes=given).nbytes == nbytes


def test_the_period_is_exposure_and_pause() -> None:
    took = HardwareParameters(shape=(4, 5), expo_time=0.25, latency_time=0.5)
    assert took.period == 0.75
    assert (took.dtype, took.bands) == ("uint16", ("0",))
    with pytest.raises(ConfigError) as caught:
        HardwareParameters(**{})
    assert caught.value.field == "shape"


def test_the_three_sets_are_kept_apart() -> None:
    asked = AcquisitionParameters(nb_frames=7, flip="y")
    assert ParameterSets(user=asked).hardware is None
    sets = ParameterSets(
        user=asked,
        hardware=HardwareParameters(shape=(4, 5), nb_frames=7),
        software=SoftwareParameters(
            before_input=(), nodes=(), input_grid=Grid((4, 5)), input_dtype="uint16",
            nb_frames_per_block=3, nb_slots=2, pool_nbytes=240,
        ),
    )  # fmt: skip
    assert sets.hardware is not None
    assert (sets.user.flip, sets.hardware.flip) == ("y", "none")


def test_frozen_parameters_say_so_as_a_configuration_error() -> None:
    class Plain(Model):
        count: int = 1

    with pytest.raises(ConfigError) as caught:
        setattr(Plain(), "count", 2)  # noqa: B010 - a type checker would not let us
    assert caught.value.field == "count"


@pytest.mark.parametrize("value", ["hugee", "", None, 3, [], {"typ": "huge"}, {"type": 3}, True])
def test_an_unknown_allocator_lists_those_there_are(value: Any) -> None:
    with pytest.raises(ConfigError, match="no allocator of this name") as caught:
        Buffers(allocator=value)
    error = caught.value
    assert error.field == "allocator"
    assert error.allowed[0] == "auto"
    assert {"huge", "mapped", "pages"} < set(error.allowed)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"type": "numa", "node": -1}, "allocator.node"),
        ({"type": "numa", "interface": 3}, "allocator.interface"),
        ({"type": "numa", "node": 0, "interface": "eth0"}, "allocator.interface"),
        ({"type": "mapped", "path": "/tmp"}, "allocator.path"),
    ],
)
def test_a_key_of_an_allocator_is_named(value: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Buffers(allocator=value)
    assert caught.value.field == field
    assert caught.value.allowed


def test_an_allocator_is_a_value_and_its_folder_is_absolute(tmp_path: Path) -> None:
    given = Buffers(allocator={"type": "mapped", "folder": "scratch"}, folder="held")
    made = given.absolute(tmp_path)
    assert made.folder == str(tmp_path / "held")
    assert made.allocator == MappedAllocator(folder=str(tmp_path / "scratch"))
    assert Buffers(allocator="huge") == Buffers(allocator=HugeAllocator())
    assert Buffers(**given.model_dump()) == given
    assert Buffers().absolute(tmp_path) == Buffers()


@pytest.mark.parametrize("field", ["receiver", "processing"])
@pytest.mark.parametrize("value", ["all", [], [-1], 2, None, {"a": 1}, ["x"]])
def test_cores_are_numbers_auto_or_none(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Topology(affinity={field: value})
    assert str(caught.value.field).startswith(f"affinity.{field}")
    assert caught.value.allowed


def test_cores_may_be_given_as_a_list() -> None:
    given = Topology(affinity={"receiver": [3, 1], "processing": "auto"}).affinity
    assert given == Affinity(receiver=(3, 1), processing="auto")
