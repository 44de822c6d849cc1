"""Allocators: each gives memory that is what it says, or says why it is not."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from disk import on_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from limadask.engine.pool_memory import PoolMemory
from limadask.errors import ConfigError
from limadask.memory import (
    Allocator,
    Budget,
    BufferPool,
    Fallback,
    HugeAllocator,
    LockedAllocator,
    ManagedAllocator,
    MappedAllocator,
    NamedAllocator,
    NumaAllocator,
    PageAllocator,
    PinnedAllocator,
    SharedAllocator,
    SharedMemory,
    Traits,
)
from limadask.memory.allocator import address
from limadask.memory.keeper import Keeper
from limadask.memory.system import is_in_memory
from limadask.memory.usage import Meters
from limadask.parameters import Buffers

ALL: list[type[NamedAllocator]] = [
    HugeAllocator, LockedAllocator, ManagedAllocator, MappedAllocator, NumaAllocator,
    PageAllocator, PinnedAllocator, SharedMemory,
]  # fmt: skip
PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 3 << 20
LOCKABLE = 8 * PAGE
"""What any user may lock, by default."""


def smaps(buffer: NDArray[np.uint8], key: str) -> str:
    """What the kernel says of the mapping that a buffer is in."""
    inside, wanted = False, address(buffer)
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= wanted < int(found[2], 16)
        elif inside and line.startswith(f"{key}:"):
            return line.split(":")[1].strip()
    raise LookupError(key)


def policy(buffer: NDArray[np.uint8]) -> str:
    """Where the kernel takes the pages of a buffer from."""
    start = f"{address(buffer):x} "
    lines = Path("/proc/self/numa_maps").read_text().splitlines()
    return next(line for line in lines if line.startswith(start)).split()[1]


def free_huge_pages() -> int:
    found = re.search(r"HugePages_Free: +(\d+)", Path("/proc/meminfo").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("kind", ALL, ids=lambda one: one.name)
@settings(max_examples=15)
@given(nbytes=st.integers(1, 1 << 18), slots=st.integers(1, 4))
def test_buffers_are_blank_page_aligned_and_apart(
    kind: type[NamedAllocator], nbytes: int, slots: int
) -> None:
    allocator = Fallback(kind(), slots, nbytes)
    buffers = [allocator.allocate(nbytes) for _ in range(slots)]
    assert all(one.shape == (nbytes,) and not one.any() for one in buffers)
    assert all(address(one) % PAGE == 0 for one in buffers)
    for number, one in enumerate(buffers, 1):
        one[:] = number
    assert all((one == number).all() for number, one in enumerate(buffers, 1))
    assert all(allocator.renew(one) for one in buffers)
    for one in buffers:
        allocator.free(one)


@pytest.mark.parametrize("kind", ALL, ids=lambda one: one.name)
def test_a_value_says_its_name_and_its_parameters(kind: type[NamedAllocator]) -> None:
    one = kind()
    dumped = one.model_dump(mode="json")
    assert dumped.pop("type") == one.name
    assert one == kind(**dumped)
    with pytest.raises(ConfigError, match="has no field 'colour'"):
        kind(colour=1)


def test_plain_memory_has_nothing_to_tell() -> None:
    assert PageAllocator().traits.told() == {}
    assert Traits(locked=True, nodes=(1,)).told() == {"locked": True, "nodes": (1,)}


def test_huge_pages_are_those_of_the_system_or_the_number_that_lacks_is_named() -> None:
    allocator = Fallback(HugeAllocator(), 1, SIZE)
    buffer = allocator.allocate(SIZE)
    size = HugeAllocator().traits.page_nbytes
    if allocator.name == "huge":  # where an administrator has set some aside
        assert smaps(buffer, "KernelPageSize") == f"{size >> 10} kB"
        assert allocator.warnings == []
        return
    assert allocator.name == "pages"
    assert smaps(buffer, "KernelPageSize") == f"{PAGE >> 10} kB"
    (text,) = allocator.warnings
    needed = -(-SIZE // size)
    assert f"{needed} huge pages of {size >> 10} KiB are needed, {free_huge_pages()} are" in text
    assert "sysctl vm.nr_hugepages" in text


def test_locked_pages_stay_in_memory_until_the_last_view_is_gone() -> None:
    buffer = LockedAllocator().allocate(LOCKABLE)
    assert smaps(buffer, "Locked") == f"{LOCKABLE >> 10} kB"
    flags = smaps(buffer, "VmFlags").split()
    assert "lo" in flags
    before = _locked_bytes()
    del buffer
    gc.collect()
    assert before - _locked_bytes() == LOCKABLE


def _locked_bytes() -> int:
    found = re.search(r"VmLck:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_numa_memory_is_bound_to_the_nodes_of_the_workers_cores() -> None:
    allocator = NumaAllocator()
    (*nodes,) = allocator.traits.nodes
    assert nodes
    buffer = allocator.allocate(SIZE)
    assert policy(buffer).startswith("bind:")
    assert str(nodes[0]) in policy(buffer)
    assert policy(PageAllocator().allocate(SIZE)) == "default"


@pytest.mark.parametrize(("kind", "key"), [(LockedAllocator, "locked"), (NumaAllocator, "nodes")])
def test_shared_memory_can_be_locked_or_bound_too(kind: type[PageAllocator], key: str) -> None:
    allocator = SharedAllocator(2, LOCKABLE, kind())
    buffer = allocator.allocate(LOCKABLE)
    assert allocator.handle(buffer) is not None
    assert allocator.name == f"shared {kind.name}"
    assert set(allocator.traits.told()) == {"shared", key}
    if kind is LockedAllocator:
        assert "lo" in smaps(buffer, "VmFlags").split()
    else:
        assert any("bind:" in one for one in Path("/proc/self/numa_maps").read_text().splitlines())


def test_a_file_has_no_name_and_holds_what_is_written(tmp_path: Path) -> None:
    allocator = MappedAllocator(folder=str(tmp_path))
    buffer = allocator.allocate(SIZE)
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    assert allocator.traits.told() == {"touched": False, "folder": str(tmp_path)}
    buffer[:] = 7
    assert int(buffer.sum()) == 7 * SIZE
    del buffer
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_file_is_not_memory_that_a_budget_has_to_grant(tmp_path: Path) -> None:
    budget = Budget()
    budget.bound("test", budget.used + SIZE)
    with pytest.raises(MemoryError, match="do not fit"):
        BufferPool(2, SIZE, budget=budget)
    pool = BufferPool(2, SIZE, MappedAllocator(folder=str(on_disk(tmp_path))), budget=budget)
    assert pool.nbytes == 0
    assert (pool.usage().on_disk, pool.usage().allocator) == (2 * SIZE, "mapped")


@pytest.mark.skipif(not is_in_memory("/dev/shm"), reason="/dev/shm is not in memory")
def test_a_file_in_memory_is_memory(tmp_path: Path) -> None:
    budget = Budget()
    budget.bound("test", budget.used + SIZE)
    with pytest.raises(MemoryError, match="do not fit"):
        BufferPool(2, SIZE, MappedAllocator(folder="/dev/shm"), budget=budget)
    pool = BufferPool(1, SIZE, MappedAllocator(folder="/dev/shm"), budget=budget)
    assert (pool.nbytes, pool.usage().on_disk) == (SIZE, 0)
    told = PoolMemory(Buffers(allocator="mapped", folder="/dev/shm"), "/", stays=False)
    told.open(1, SIZE, None, has_readers=False)
    (text,) = told.warnings
    assert text.startswith("allocator mapped: /dev/shm is in memory")
    assert told.is_bound
    assert not is_in_memory(tmp_path / "not there")


class Reserved(NamedAllocator):
    """Pages that were set aside, of which there are as many as one says."""

    name: ClassVar[str] = "reserved"
    few: int

    @property
    def traits(self) -> Traits:
        return Traits(reserved=True)

    def open(self, slots: int, slot_nbytes: int) -> Allocator:
        return SetAside(self.few)


class SetAside:
    name = Reserved.name
    traits = Traits(reserved=True)

    def __init__(self, left: int) -> None:
        self._left = left

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        if not self._left:
            raise MemoryError("no more of them")
        self._left -= 1
        return np.zeros(nbytes, np.uint8)

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None: ...


def test_what_was_set_aside_needs_no_room_and_what_falls_back_does() -> None:
    own = Meters()
    budget = Budget(own)
    budget.bound("test", SIZE)
    memory = PoolMemory(Buffers(allocator=Reserved(few=3)), "/", stays=False)
    assert (memory.is_bound, memory.is_reserved) == (False, True)
    allocator = memory.open(6, SIZE, None, has_readers=False)
    pool = BufferPool(3, SIZE, allocator, budget=budget, ceiling=6, keeper=Asleep())
    own.add(pool)
    assert (pool.usage().allocated, pool.usage().reserved) == (3 * SIZE, 3 * SIZE)
    assert budget.left == SIZE
    assert memory.told() == {"name": "reserved", "reserved": True}
    held = [pool.lend((SIZE,), "u1") for _ in range(3)]
    pool.grow()
    assert memory.told() == {"name": "reserved+pages"}
    (text,) = memory.warnings
    assert "no more of them. Plain pages are taken instead" in text
    assert (pool.slots, pool.usage().reserved, budget.left) == (4, 3 * SIZE, 0)
    held.append(pool.lend((SIZE,), "u1"))
    pool.grow()
    assert (pool.slots, "do not fit" in pool.statistics().refused) == (4, True)
    pool.retire()
    held.clear()
    gc.collect()
    pool.grow()
    assert (pool.usage().allocated, pool.usage().reserved, budget.left) == (0, 0, SIZE)


def test_the_slot_at_which_it_falls_back_needs_room_too() -> None:
    own = Meters()
    budget = Budget(own)
    budget.bound("test", SIZE // 2)
    allocator = Fallback(Reserved(few=1), 2, SIZE)
    pool = BufferPool(1, SIZE, allocator, budget=budget, ceiling=2, keeper=Asleep())
    own.add(pool)
    held = pool.lend((SIZE,), "u1")
    assert held is not None
    pool.grow()
    assert (pool.slots, "do not fit" in pool.statistics().refused) == (1, True)


class Asleep(Keeper):
    """A keeper that does nothing by itself."""

    def add(self, pool: Any) -> None: ...

    def ask(self, pool: Any) -> None: ...


def test_the_folder_of_the_buffers_serves_files_that_have_none(tmp_path: Path) -> None:
    given = MappedAllocator(folder="/scratch")
    assert MappedAllocator().within("/scratch") == given
    assert given.within("/elsewhere") == given
    assert MappedAllocator(folder="a").absolute(tmp_path).folder == str(tmp_path / "a")
    assert MappedAllocator().absolute(tmp_path) == MappedAllocator()
    assert PageAllocator().within("/scratch") == PageAllocator()


@pytest.mark.parametrize("slots", [1, 1 << 30])
def test_a_file_that_cannot_be_made_is_a_mistake_and_nothing_takes_its_place(
    tmp_path: Path, slots: int
) -> None:
    folder = tmp_path / "missing" if slots == 1 else tmp_path
    with pytest.raises(ConfigError, match="cannot be kept in a file there") as caught:
        Fallback(MappedAllocator(folder=str(folder)), slots, SIZE)
    error = caught.value
    assert (error.node, error.field, error.value) == ("buffers", "folder", str(folder))
    assert ("No such file" in error.message) == (slots == 1)
    assert (f"{slots * SIZE} bytes are needed" in error.message) == (slots > 1)


class Failing(NamedAllocator):
    """Has memory for so many buffers only."""

    name: ClassVar[str] = "scarce"
    made: ClassVar[dict[int, int]] = {}
    """Addresses of the buffers that are out, and their bytes."""

    nb_buffers: int = 0

    @property
    def traits(self) -> Traits:
        return Traits(device="test")

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        if len(self.made) >= self.nb_buffers:
            raise MemoryError(f"only {self.nb_buffers} are there")
        buffer = PageAllocator().allocate(nbytes)
        self.made[address(buffer)] = nbytes
        return buffer

    def free(self, buffer: NDArray[np.uint8]) -> None:
        del self.made[address(buffer)]


@given(has=st.integers(0, 4), wanted=st.integers(1, 4))
def test_what_lacks_is_plain_memory_and_told_once(has: int, wanted: int) -> None:
    Failing.made.clear()
    allocator = Fallback(Failing(nb_buffers=has), wanted, 100)
    buffers = [allocator.allocate(100) for _ in range(wanted)]
    own = min(has, wanted)
    assert set(Failing.made) == {address(one) for one in buffers[:own]}
    if wanted <= has:
        assert (allocator.name, allocator.traits.device) == ("scarce", "test")
        assert allocator.warnings == []
    else:
        assert allocator.name == ("scarce+pages" if has else "pages")
        assert allocator.traits == Traits()
        text = f"allocator scarce: only {has} are there. Plain pages are taken instead"
        assert allocator.warnings == [text]
    for one in buffers:
        assert allocator.renew(one)
        allocator.free(one)
    assert Failing.made == {}


def test_shared_memory_falls_back_to_plain_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(buffer: NDArray[np.uint8]) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("limadask.memory.locked.lock_pages", refused)
    shared = SharedAllocator(2, 100, LockedAllocator())
    allocator = Fallback(LockedAllocator(), 2, 100, shared)
    pool = BufferPool(2, 100, allocator)
    taken = [pool.lend((100,), "u1") for _ in range(2)]
    handles = [shared.handle(one) for one in taken if one is not None]
    assert {one.slot for one in handles if one is not None} == {0, 1}
    assert allocator.name == "shared"
    assert len(allocator.warnings) == 1
    assert "RLIMIT_MEMLOCK is" in allocator.warnings[0]


def test_an_allocator_without_allocate_says_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match="open it first"):
        SharedMemory().allocate(1)
