"""Allocators where the system says no: the reason is told, and it is the true one."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from disk import on_small_disk

from limadask.memory import (
    Fallback,
    ManagedAllocator,
    MappedAllocator,
    NamedAllocator,
    PinnedAllocator,
)
from limadask.memory.allocator import address

HERE = Path(__file__).parent
BOUND = 60.0
GPU = [PinnedAllocator, ManagedAllocator]


def locked(slots: int, nbytes: int, limit: int) -> tuple[str, list[str], int]:
    command = [sys.executable, str(HERE / "locking.py"), *map(str, (slots, nbytes, limit))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stderr
    name, warnings, free = json.loads(done.stdout.splitlines()[-1])
    return name, warnings, free


def test_the_limit_of_locked_memory_is_told_with_its_value() -> None:
    name, (text,), free = locked(slots=3, nbytes=1 << 16, limit=1 << 16)
    assert (name, free) == ("locked+pages", 3)
    assert "65536 bytes cannot be locked" in text
    assert "RLIMIT_MEMLOCK is 65536 bytes for the whole process" in text
    assert "ulimit -l" in text


def test_what_the_limit_allows_is_locked() -> None:
    assert locked(slots=2, nbytes=1 << 16, limit=1 << 17) == ("locked", [], 2)


def test_a_disk_that_is_too_small_is_told_before_a_frame_comes(tmp_path: Path) -> None:
    told = on_small_disk(HERE / "mapping.py", tmp_path / "disk")
    assert (
        "buffers.folder: frames cannot be kept in a file there: 5242880 bytes" in told["too many"]
    )
    assert "No space left on device" in told["full"]
    assert told["sum"] == 3 << 20
    assert told["left"] == ["filler"]


KILLED = """
import sys
from limadask.memory import MappedAllocator
buffer = MappedAllocator(folder=sys.argv[1]).allocate(1 << 20)
buffer[:] = 1
print("there", flush=True)
sys.stdin.readline()
"""


def test_nothing_is_left_of_a_process_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert str(tmp_path) in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGKILL)
        assert process.wait(BOUND) == -signal.SIGKILL
    assert os.listdir(tmp_path) == []


# ---- GPUs: only the absence of one is real here -----------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="there is a CuPy")
@pytest.mark.parametrize("kind", GPU)
def test_without_cupy_memory_is_plain(kind: type[NamedAllocator]) -> None:
    allocator = Fallback(kind(), 1, 100)
    assert not allocator.allocate(100).any()
    assert (allocator.name, allocator.traits.device) == ("pages", "")
    (text,) = allocator.warnings
    assert f"allocator {kind.name}: there is no CuPy (No module named 'cupy')" in text


class Memory:
    """What CuPy's memory is like: an address, and room that goes with it."""

    def __init__(self, nbytes: int) -> None:
        if nbytes > 1 << 20:
            raise RuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.room = (ctypes.c_uint8 * nbytes)(*([9] * nbytes))  # not blank
        self.ptr = ctypes.addressof(self.room)
        ALIVE.add(self.ptr)

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            ALIVE.discard(self.ptr)


ALIVE: set[int] = set()


def cupy(count: Any) -> ModuleType:
    """Return a stand-in for CuPy, whose runtime counts GPUs by ``count``."""
    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        runtime=SimpleNamespace(getDeviceCount=count),
        PinnedMemory=Memory,
        PinnedMemoryPointer=lambda memory, offset: memory,
        ManagedMemory=Memory,
    )
    return module


@pytest.mark.parametrize("kind", GPU)
def test_memory_of_a_gpu_goes_with_its_last_view(
    kind: type[NamedAllocator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy(lambda: 1))
    allocator = Fallback(kind(), 1, 100)
    view = allocator.allocate(100)[10:20]
    assert not view.any()
    view[:] = 5
    gc.collect()
    (begin,) = ALIVE
    assert 0 <= address(view) - 10 - begin < mmap.PAGESIZE
    assert int(view.sum()) == 50
    assert (allocator.name, allocator.traits.device) == (kind.name, "cuda")
    assert allocator.warnings == []
    del view
    gc.collect()
    assert set() == ALIVE


@pytest.mark.parametrize("kind", GPU)
def test_a_gpu_that_is_missing_or_full_is_told(
    kind: type[NamedAllocator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver")

    monkeypatch.setitem(sys.modules, "cupy", cupy(no_driver))
    without = Fallback(kind(), 1, 100)
    assert len(without.allocate(100)) == 100
    assert "CuPy finds no GPU: cudaErrorInsufficientDriver" in without.warnings[0]
    monkeypatch.setitem(sys.modules, "cupy", cupy(lambda: 1))
    full = Fallback(kind(), 1, 2 << 20)
    assert np.count_nonzero(full.allocate(2 << 20)) == 0
    assert "CUDA refuses 2097152 bytes: cudaErrorMemoryAllocation" in full.warnings[0]


def test_a_folder_that_cannot_be_written_to_names_it() -> None:
    with pytest.raises(Exception, match=r"buffers.folder: .*\(got /proc; allowed: a folder"):
        MappedAllocator(folder="/proc").allocate(1)
