"""Encoded frames as one: each call of HDF5 is dear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from limadask.storage.entry import Chunks
from limadask.storage.sparse_entry import SparseChunks

C = TypeVar("C", Chunks, SparseChunks)


def joined(parts: Sequence[C]) -> C:
    """Return parts, one after the other, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return type(first)(
        **{one.name: _joined([getattr(part, one.name) for part in parts]) for one in fields(first)}
    )


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if isinstance(first, Mapping):
        return {name: value for one in values for name, value in one.items()}
    return [value for one in values for value in one]
