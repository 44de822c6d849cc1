"""The structures of ``limadask.h``, and what Python puts into them."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import (
    POINTER,
    Structure,
    addressof,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_void_p,
    create_string_buffer,
)
from typing import Any

import numpy as np

from limadask.errors import ConfigError

VERSION = 1
MESSAGE = 512
"""Bytes that a function has to say what is wrong."""
NONE, INTEGER, REAL, TEXT = range(4)
"""Type of a parameter's values."""


class Array(Structure):
    """``limadask_array``."""

    _fields_ = [
        ("data", c_void_p),
        ("shape", c_int64 * 4),
        ("strides", c_int64 * 4),
        ("dtype", c_int32),
        ("itemsize", c_int32),
    ]

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Describe C-contiguous frames, ``shape`` that of one, ``(band, y, x)``; no frame yet."""
        strides = [int(np.prod(shape[axis:])) * dtype.itemsize for axis in range(4)]
        code = ord(dtype.kind) << 8 | dtype.itemsize
        return cls(None, (c_int64 * 4)(0, *shape), (c_int64 * 4)(*strides), code, dtype.itemsize)


class Parameter(Structure):
    """``limadask_parameter``."""

    _fields_ = [
        ("name", c_char_p),
        ("values", c_void_p),
        ("count", c_int64),
        ("type", c_int32),
        ("reserved", c_int32),
    ]


class Call(Structure):
    """``limadask_call``."""

    _fields_ = [
        ("abi", c_int32),
        ("nb_parameters", c_int32),
        ("parameters", POINTER(Parameter)),
        ("input", POINTER(Array)),
        ("output", POINTER(Array)),
        ("masked", POINTER(Array)),
        ("numbers", c_void_p),
        ("state", c_void_p),
        ("message", c_char_p),
    ]


class Parameters:
    """The fields of a task as C sees them; their memory lasts as long as this object.

    Raises
    ------
    ConfigError
        When C cannot have a value.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._memory = [_values(name, value) for name, value in fields.items()]
        self.count = len(fields)
        self.array = (Parameter * max(1, self.count))()
        for one, name, (kind, values, count) in zip(self.array, fields, self._memory, strict=False):
            one.name, one.type, one.count = name.encode(), kind, count
            one.values = None if values is None else addressof(values)


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


def _values(name: str, value: Any) -> tuple[int, Any, int]:
    """Return type, memory and number of a parameter's values."""
    if value is None:
        return NONE, None, 0
    if isinstance(value, str):
        text = value.encode()
        return TEXT, create_string_buffer(text), len(text)
    values = value if isinstance(value, list | tuple) else [value]
    if all(isinstance(one, int) and -(1 << 63) <= one < 1 << 63 for one in values):
        return INTEGER, (c_int64 * len(values))(*values), len(values)
    if all(isinstance(one, int | float) for one in values) and any(map(_is_float, values)):
        return REAL, (c_double * len(values))(*values), len(values)
    raise ConfigError(
        "compiled functions cannot have such a value",
        field=name,
        value=value,
        allowed="None, a truth value, an integer of 64 bits, a number, a text, a list of numbers",
    )
