"""Libraries of arrays: how pixels come to them and back."""

from __future__ import annotations

import ctypes
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.memory import Allocator, Memory, PinnedAllocator

Device = Literal["cpu", "gpu"]
_REACHED = 1, 3
"""``cudaMemoryTypeHost`` and ``cudaMemoryTypeManaged``, of CUDA's runtime."""


class Library(ABC):
    """A library of arrays on a device, as one worker has it; called from several threads."""

    @abstractmethod
    def given(self, pixels: NDArray[Any]) -> Any:
        """Return an array of the library with these pixels; they may be read-only."""

    @abstractmethod
    def back(self, array: Any, memory: Memory = np.empty) -> NDArray[Any]:
        """Return an array of the library as one of NumPy's, in ``memory`` where it is copied."""

    @property
    def allocator(self) -> Allocator | None:
        """The kind of memory that arrays come back to at full speed; None where none is copied."""
        return None

    def working(self) -> AbstractContextManager[Any]:
        """Return what surrounds each block of work: given pixels must stay there till its end."""
        return nullcontext()


class Standard(Library):
    """Any library that follows the Python array API standard, on the CPU; NumPy is one."""

    def __init__(self, name: str) -> None:
        self._module = import_module(name)

    def given(self, pixels: NDArray[Any]) -> Any:
        """Return the pixels, uncopied where the library can share them."""
        return self._module.asarray(pixels)

    def back(self, array: Any, memory: Memory = np.empty) -> NDArray[Any]:
        """Return the array, uncopied where it can be shared."""
        return np.asarray(array) if hasattr(array, "__array__") else np.from_dlpack(array)


class Torch(Library):
    """PyTorch, on the CPU or on one GPU."""

    def __init__(self, device: Device) -> None:
        self._torch = import_module("torch")
        self._is_gpu = device == "gpu"
        if self._is_gpu and not self._torch.cuda.is_available():
            raise _no_gpu("torch.cuda.is_available() is False")

    def given(self, pixels: NDArray[Any]) -> Any:
        """Return a tensor; a copy, since a tensor may always be written to."""
        if not self._is_gpu:
            return self._torch.from_numpy(pixels.copy())
        dense = np.ascontiguousarray(pixels)
        there = self._torch.from_numpy(_as_writable(dense))
        staged = there if there.is_pinned() else there.pin_memory()
        return staged.to("cuda", non_blocking=True)

    def back(self, array: Any, memory: Memory = np.empty) -> NDArray[Any]:
        """Return the values of a tensor."""
        tensor = array.detach()
        if not tensor.is_cuda:
            return np.asarray(tensor.numpy())
        dtype = self._torch.empty(0, dtype=tensor.dtype, device="cpu").numpy().dtype
        there = memory(tuple(tensor.shape), dtype)
        self._torch.from_numpy(there).copy_(tensor)
        return there

    @property
    def allocator(self) -> Allocator | None:
        """Page-locked memory, from a GPU."""
        return _pinned() if self._is_gpu else None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute no gradients; in the end nothing is read any more."""
        with self._torch.no_grad():
            try:
                yield
            finally:
                if self._is_gpu:
                    self._torch.cuda.current_stream().synchronize()


class Cupy(Library):
    """CuPy on one GPU: a stream for each thread, and page-locked memory on the way."""

    def __init__(self, device: Device) -> None:
        if device != "gpu":
            raise ConfigError(
                "cupy works on GPUs alone", field="device", value=device, allowed=["gpu"]
            )
        self._cupy = import_module("cupy")
        try:
            self._cupy.cuda.runtime.getDeviceCount()
        except Exception as error:  # of CuPy's own kind, which cannot be named here
            raise _no_gpu(str(error)) from error
        self._own = threading.local()

    def given(self, pixels: NDArray[Any]) -> Any:
        """Return an array on the GPU, by page-locked memory of this thread if it is in no such."""
        staged = pixels
        if not self._is_reached(pixels):
            staged = self._staging(pixels)
            np.copyto(staged, pixels)
        array = self._cupy.empty(pixels.shape, pixels.dtype)
        array.set(staged, stream=self._stream())
        return array

    def back(self, array: Any, memory: Memory = np.empty) -> NDArray[Any]:
        """Return the values of an array on the GPU, or of anything that NumPy takes."""
        if not isinstance(array, self._cupy.ndarray):
            return np.asarray(array)
        there = memory(array.shape, array.dtype)
        self._cupy.asnumpy(array, stream=self._stream(), out=there)
        return there

    @property
    def allocator(self) -> Allocator | None:
        """Page-locked memory."""
        return _pinned()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in the thread's own stream; in the end nothing is read any more."""
        stream = self._stream()
        with stream:
            try:
                yield
            finally:
                stream.synchronize()

    def _stream(self) -> Any:
        if not hasattr(self._own, "stream"):
            self._own.stream = self._cupy.cuda.Stream(non_blocking=True)
        return self._own.stream

    def _is_reached(self, pixels: NDArray[Any]) -> bool:
        """Tell whether the GPU copies from there by itself, as from a pool that is ``pinned``."""
        if not pixels.flags.c_contiguous:
            return False
        attributes = self._cupy.cuda.runtime.pointerGetAttributes(pixels.ctypes.data)
        return int(attributes.type) in _REACHED

    def _staging(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return page-locked memory, the same for all blocks of a thread."""
        room = getattr(self._own, "room", None)
        if room is None or room.nbytes < pixels.nbytes:
            room = self._own.room = np.frombuffer(
                self._cupy.cuda.alloc_pinned_memory(pixels.nbytes), np.uint8, pixels.nbytes
            )
        return room[: pixels.nbytes].view(pixels.dtype).reshape(pixels.shape)


def _pinned() -> Allocator | None:
    """Return the allocator of page-locked memory; None where CuPy, which makes it, does not."""
    allocator = PinnedAllocator()
    try:
        allocator.allocate(1)
    except MemoryError:
        return None
    return allocator


def _as_writable(dense: NDArray[Any]) -> NDArray[Any]:
    """Return the same memory as if it could be written to: PyTorch warns of other.

    Only for who reads it, and as long as ``dense`` is there.
    """
    room = (ctypes.c_uint8 * dense.nbytes).from_address(dense.ctypes.data)
    return np.ctypeslib.as_array(room).view(dense.dtype).reshape(dense.shape)


def library(name: str, device: Device) -> Library:
    """Return a library on a device.

    Raises
    ------
    ConfigError
        When it is not installed, or does not work on this device here.
    """
    try:
        if name == "torch":
            return Torch(device)
        if name == "cupy":
            return Cupy(device)
        if device == "gpu":
            raise ConfigError(
                f"{name} is used on the CPU alone",
                field="device", value=device, allowed="cpu, or the library cupy or torch",
            )  # fmt: skip
        return Standard(name)
    except ImportError as error:
        raise ConfigError(
            f"no library {name!r} here: {error}",
            field="arrays", value=name, allowed="a library that is installed where it is used",
        ) from error  # fmt: skip


def _no_gpu(reason: str) -> ConfigError:
    return ConfigError(
        f"no GPU here: {reason}", field="device", value="gpu", allowed="workers with a GPU"
    )
