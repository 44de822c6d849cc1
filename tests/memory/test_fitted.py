"""Memory for results: slots as large as these are, made beside the work, given back in the end."""

from __future__ import annotations

import gc
import threading
import weakref
from itertools import count

import numpy as np
from numpy.typing import NDArray
from waiting import until

from limadask.memory import METERS, FittedPool, Freed, Traits, Usage, owning
from limadask.memory.allocator import address


class Told:
    """Pages that are known by where they are."""

    traits = Traits()
    name = "told"

    def __init__(self) -> None:
        self.made: set[int] = set()

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        memory = np.zeros(nbytes, np.uint8)
        self.made.add(address(memory))
        return memory

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        self.made.discard(address(buffer))


class Missing(Told):
    """Memory that cannot be had."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        self.asked.set()
        raise MemoryError("there is no CuPy")


def usages(uuid: str) -> list[Usage]:
    gc.collect()
    return [one for one in METERS.usages() if one.uuid == uuid]


def is_pooled(fitted: FittedPool, allocator: Told, *shape: int) -> bool:
    return address(fitted.array(shape, "u2")) in allocator.made


def test_slots_are_made_beside_the_work_as_large_as_results_are() -> None:
    allocator = Told()
    fitted = FittedPool(allocator)
    first = fitted.array((3, 5), "u2")  # there is no slot yet, and nobody waits
    assert (first.shape, first.dtype, first.flags.c_contiguous) == ((3, 5), np.dtype("u2"), True)
    first[...] = 7
    until(lambda: is_pooled(fitted, allocator, 3, 5))
    assert is_pooled(fitted, allocator, 2, 5)
    assert not is_pooled(fitted, allocator, 4, 5)
    until(lambda: is_pooled(fitted, allocator, 4, 5))
    assert (first == 7).all()


def test_results_that_are_held_are_never_lent_again() -> None:
    allocator, held = Told(), list[NDArray[np.int64]]()
    fitted, numbers = FittedPool(allocator), count()
    until(lambda: is_pooled(fitted, allocator, 256))

    def work() -> None:
        for _ in range(200):
            one = fitted.array((64,), "i8")
            one[...] = len(held)
            one[0] = next(numbers)
            if one[0] % 4 == 0:
                held.append(one)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(int(one[0]) for one in held) == list(range(0, 800, 4))
    assert all((one[1:] == one[1]).all() for one in held)
    assert sum(address(one) in allocator.made for one in held) > 1


def test_it_is_its_node_s_and_goes_with_the_run_and_the_last_result() -> None:
    made: weakref.WeakSet[Freed] = weakref.WeakSet()
    allocator = Told()
    with owning("5678", "half", made):
        fitted = FittedPool(allocator)
    assert list(made) == [fitted]
    until(lambda: is_pooled(fitted, allocator, 100))
    kept = fitted.array((100,), "u2")
    assert {(one.stage, one.node) for one in usages("5678")} == {("scratch", "half")}
    assert any(one.allocator == "told" for one in usages("5678"))
    kept[...] = 3
    fitted.free()
    nbytes = kept.nbytes
    until(lambda: sum(one.in_use for one in usages("5678")) == nbytes)
    assert (kept == 3).all()
    del kept
    until(lambda: not any(one.allocated for one in usages("5678")))
    assert fitted.array((4,), "u2").size == 4


def test_where_there_is_none_of_its_kind_there_is_other_memory() -> None:
    missing = Missing()
    fitted = FittedPool(missing)
    assert fitted.array((5,), "u2").size == 5
    assert missing.asked.wait(60)
    assert fitted.array((5,), "u2").size == 5
