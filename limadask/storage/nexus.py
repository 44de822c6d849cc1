"""Small helpers to write NeXus groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import h5py
import numpy as np


def group(parent: h5py.Group, name: str, nx_class: str, **attributes: Any) -> h5py.Group:
    """Return the group of this name, made if it is not there, with its NeXus class."""
    found = parent.require_group(name)
    found.attrs["NX_class"] = nx_class
    found.attrs.update(attributes)
    return found


def field(parent: h5py.Group, name: str, value: Any, **attributes: Any) -> h5py.Dataset:
    """Write one value with its attributes, such as units."""
    dataset = parent.create_dataset(name, data=value)
    dataset.attrs.update(attributes)
    return dataset


def bare_scale(parent: h5py.Group, dim: str, size: int) -> h5py.Dataset:
    """Return the scale of a dimension without labels, as netCDF-4 has it; it takes no room."""
    scale = parent.create_dataset(dim, (size,), "f4")  # never written
    scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:10d}")
    return scale


def tree(parent: h5py.Group, name: str, values: Mapping[str, Any]) -> h5py.Group:
    """Write nested plain data as nested NXcollection groups; None is written as ``null``."""
    made = group(parent, name, "NXcollection")
    for key, value in values.items():
        title = _title(key, made)
        if isinstance(value, Mapping):
            tree(made, title, value)
        elif isinstance(value, list | tuple) and any(
            isinstance(one, Mapping | list | tuple) for one in value
        ):
            tree(made, title, {str(number): one for number, one in enumerate(value)})
        else:
            made[title] = _plain(value)
    return made


def iso(nanoseconds: int) -> str:
    """Return UTC nanoseconds as ISO 8601."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1000:06d}Z"


def _title(key: object, taken: h5py.Group) -> str:
    """Return a name that HDF5 allows and that no other key has got."""
    title = _text(str(key)).replace("/", "|")
    title = "_" * max(1, len(title)) if set(title) <= {"."} else title
    while title in taken:
        title += "_"
    return title


def _text(value: str) -> str:
    """Return text that HDF5 can hold: no NUL, no halves of a character."""
    return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    """Return something HDF5 can hold; what it cannot becomes JSON or text."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, np.generic | np.ndarray):
        return value if value.dtype.kind in "biufc" else _plain(value.tolist())
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value
    if isinstance(value, list | tuple):
        kinds = {type(one) for one in value}
        if kinds <= {str}:
            return np.array([_text(one) for one in value], dtype=h5py.string_dtype())
        if kinds <= {int, float, bool} and (array := np.array(value)).dtype != object:
            return array
    try:
        return _text(json.dumps(value))
    except (TypeError, ValueError):
        return _text(str(value))
