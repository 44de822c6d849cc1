"""Memory that a GPU of NVIDIA reaches by itself, by way of CuPy."""

from __future__ import annotations

import ctypes
import mmap
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import NamedAllocator
from limadask.memory.loan import lent
from limadask.memory.traits import Traits


class PinnedAllocator(NamedAllocator):
    """Locked memory that a GPU copies from at full speed, while the processor does other things."""

    name: ClassVar[str] = "pinned"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(locked=True, device="cuda")

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return zeroed bytes, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When there is no CuPy, no GPU, or not as much.
        """
        cuda = _cuda()
        try:  # not by CuPy's pool, which would keep it
            memory = cuda.PinnedMemoryPointer(cuda.PinnedMemory(nbytes + mmap.PAGESIZE), 0)
        except RuntimeError as error:  # CUDARuntimeError is one
            raise _refused(nbytes, error) from error
        return _zeroed(memory.ptr, nbytes, memory)


class ManagedAllocator(NamedAllocator):
    """Memory that processor and GPU share: each page moves to whoever uses it."""

    name: ClassVar[str] = "managed"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(device="cuda")

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return zeroed bytes, shape ``(nbytes,)``; they are where the processor is.

        Raises
        ------
        MemoryError
            When there is no CuPy, no GPU, or not as much.
        """
        cuda = _cuda()
        try:
            memory = cuda.ManagedMemory(nbytes + mmap.PAGESIZE)
        except RuntimeError as error:
            raise _refused(nbytes, error) from error
        return _zeroed(memory.ptr, nbytes, memory)


def _cuda() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        raise MemoryError(
            f"there is no CuPy ({error}); install it with `pip install cupy`"
        ) from error
    cuda: ModuleType = cupy.cuda
    try:
        cuda.runtime.getDeviceCount()  # an error where there is no driver
    except RuntimeError as error:
        raise MemoryError(f"CuPy finds no GPU: {error}") from error
    return cuda


def _refused(nbytes: int, error: RuntimeError) -> MemoryError:
    return MemoryError(f"CUDA refuses {nbytes} bytes: {error}")


def _zeroed(pointer: int, nbytes: int, memory: Any) -> NDArray[np.uint8]:
    """Return bytes from the first page on, which keep their memory: small ones share pages."""
    there = (ctypes.c_uint8 * nbytes).from_address(-(-pointer // mmap.PAGESIZE) * mmap.PAGESIZE)
    buffer = lent(np.ctypeslib.as_array(there), _let_go, memory)
    buffer[:] = 0
    return buffer


def _let_go(memory: Any) -> None:
    """Do nothing: CuPy frees it, now that nobody has it."""
