"""Whatever a user gives as metadata can be written."""

from __future__ import annotations

import datetime
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.storage.nexus import iso, tree

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63 - 1, 2**65)
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.complex_numbers()
)
keys = st.text(max_size=5) | st.sampled_from(["a/b", "a|b", ".", "..", "/", "", "é"])
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def written(values: dict[str, Any]) -> dict[str, Any]:
    with h5py.File("nowhere.h5", "w", driver="core", backing_store=False) as file:
        group = tree(file, "metadata", values)
        assert group.attrs["NX_class"] == "NXcollection"
        return {
            name: one.asstr()[()] if h5py.check_string_dtype(one.dtype) else one[()]
            for name, one in group.items()
            if isinstance(one, h5py.Dataset)
        }


@given(st.dictionaries(keys, nested, max_size=4))
def test_any_data_that_yaml_can_hold_is_written(values: dict[str, Any]) -> None:
    written(values)


def test_plain_values_are_written_as_they_are() -> None:
    told = written(
        {"text": "LaB6 é", "number": 5, "float": 0.5, "yes": True, "list": [1, 2.5], "none": None}
    )
    assert told["text"] == "LaB6 é"
    assert (told["number"], told["float"], told["yes"]) == (5, 0.5, True)
    assert told["list"].tolist() == [1, 2.5]
    assert told["none"] == "null"
    assert written({"words": ["a", "é"]})["words"].tolist() == ["a", "é"]
    assert written({"when": datetime.date(2026, 11, 23)})["when"] == "2026-11-23"
    assert np.array_equal(written({"array": np.eye(2)})["array"], np.eye(2))


def test_two_keys_that_would_have_one_name_are_both_kept() -> None:
    assert sorted(written({"a/b": 1, "a|b": 2}).values()) == [1, 2]


def test_nested_data_becomes_nested_groups() -> None:
    with h5py.File("nowhere.h5", "w", driver="core", backing_store=False) as file:
        tree(file, "m", {"a": {"b": {"c": 1}}, "l": [{"x": 1}, {"x": 2}]})
        assert file["m/a/b/c"][()] == 1
        assert [file[f"m/l/{number}/x"][()] for number in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        (951_826_154_999_999_999, "2000-02-29T12:09:14.999999Z"),
    ],
)
def test_times_are_iso_8601_in_utc(nanoseconds: int, text: str) -> None:
    assert iso(nanoseconds) == text
