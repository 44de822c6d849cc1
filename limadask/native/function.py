"""One function of a library, ready to be called with frames."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Mapping
from ctypes import POINTER, byref, c_int32, c_void_p, cast, create_string_buffer, pointer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.native import abi
from limadask.native.library import function, load, optional


class NativeFunction:
    """A compiled function with its parameters and its state; several threads may call it.

    Parameters
    ----------
    path, name:
        The library and its function.
    fields:
        The parameters.
    spec:
        What comes in.
    shape, dtype:
        What goes out for each frame: ``(band, y, x)``, or three dimensions of a table.

    Raises
    ------
    ConfigError
        When the library does not fit, or its ``<name>_init`` fails.
    """

    def __init__(
        self,
        path: str,
        name: str,
        fields: Mapping[str, Any],
        spec: Spec,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        library = load(path)
        self._name = name
        self._run = function(library, name, path)
        self._run.argtypes, self._run.restype = [c_void_p], c_int32
        self._parameters = abi.Parameters(fields)
        self._input, self._output = (spec.frame_shape, spec.dtype), (shape, dtype)
        self._masked = _mask(spec)
        self._state = c_void_p()
        self._own = threading.local()
        self._begin(library)

    def __call__(self, pixels: NDArray[Any], out: NDArray[Any], numbers: NDArray[np.int64]) -> None:
        """Fill ``out`` from frames, both C-contiguous.

        Raises
        ------
        ValueError
            When they are not as planned.
        RuntimeError
            When the function says that it has failed.
        """
        count, numbers = len(pixels), np.ascontiguousarray(numbers, np.int64)
        for array, planned in ((pixels, self._input), (out, self._output)):
            given = array.shape[1:], array.dtype
            if given != planned or len(array) != count or not array.flags.c_contiguous:
                raise ValueError(f"{self._name} is called for frames {planned}, not {given}")
        if len(numbers) != count:
            raise ValueError(
                f"{self._name} is called for {count} frames, with {len(numbers)} numbers"
            )
        own: _Arguments | None = getattr(self._own, "arguments", None)
        if own is None:
            own = self._own.arguments = self._arguments()
        if count and (code := self._run(own.filled(pixels, out, numbers))):
            raise RuntimeError(own.text() or f"{self._name} returned {code}")

    def _begin(self, library: ctypes.CDLL) -> None:
        """Let the library make a state, where it has one; it ends with this object."""
        if (init := optional(library, f"{self._name}_init")) is None:
            return
        init.argtypes, init.restype = [c_void_p, POINTER(c_void_p)], c_int32
        arguments = self._arguments()
        if code := init(arguments.address, byref(self._state)):
            text = arguments.text() or f"{self._name}_init returned {code}"
            raise ConfigError(text, field="function", value=self._name)
        if (free := optional(library, f"{self._name}_free")) is not None:
            free.argtypes, free.restype = [c_void_p], None
            weakref.finalize(self, free, self._state)

    def _arguments(self) -> _Arguments:
        return _Arguments(
            self._parameters, self._input, self._output, self._masked, self._state.value
        )


class _Arguments:
    """What one thread calls with, made once: only addresses and counts change."""

    def __init__(
        self,
        parameters: abi.Parameters,
        given: tuple[tuple[int, ...], np.dtype[Any]],
        made: tuple[tuple[int, ...], np.dtype[Any]],
        masked: NDArray[np.uint8] | None,
        state: int | None,
    ) -> None:
        self._message = create_string_buffer(abi.MESSAGE)
        self._input, self._output = abi.Array.of(*given), abi.Array.of(*made)
        self._shapes = self._input.shape, self._output.shape
        self._masked = _described(masked)
        self._kept = parameters, masked
        self._call = abi.Call(
            abi.VERSION,
            parameters.count,
            parameters.array,
            pointer(self._input),
            pointer(self._output),
            None if self._masked is None else pointer(self._masked),
            None,
            state,
            cast(self._message, ctypes.c_char_p),
        )
        self.address = ctypes.addressof(self._call)

    def filled(self, pixels: NDArray[Any], out: NDArray[Any], numbers: NDArray[np.int64]) -> int:
        """Return the address of the arguments for these arrays."""
        # __array_interface__ costs half of what .ctypes.data does
        self._input.data = pixels.__array_interface__["data"][0]
        self._output.data = out.__array_interface__["data"][0]
        self._call.numbers = numbers.__array_interface__["data"][0]
        for shape in self._shapes:
            shape[0] = len(pixels)
        return self.address

    def text(self) -> str:
        """Return what the function has said, and forget it."""
        text = self._message.value.decode(errors="replace")
        self._message[0] = b"\0"
        return text


def _mask(spec: Spec) -> NDArray[np.uint8] | None:
    """Return which pixels are masked, shape ``(1, band or 1, y, x)``."""
    if spec.masked is None:
        return None
    return np.array(spec.masked.reshape(1, -1, *spec.grid.shape), np.uint8, order="C")


def _described(masked: NDArray[np.uint8] | None) -> abi.Array | None:
    if masked is None:
        return None
    found = abi.Array.of(masked.shape[1:], masked.dtype)
    found.data, found.shape[0] = masked.__array_interface__["data"][0], 1
    return found
