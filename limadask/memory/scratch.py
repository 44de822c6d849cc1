"""Scratch: memory that each thread uses again for every block."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from limadask.memory.usage import METERS, Usage

Memory = Callable[[tuple[int, ...], Any], NDArray[Any]]
"""Returns an array of a shape and type, C-contiguous, that holds anything."""


class Scratch:
    """Buffers by key, of each thread its own, used again for every block.

    A buffer grows as it is needed and stays until the thread ends, or until :meth:`free`. What is
    in it is good until the same thread asks for the same key again: never hand it to somebody who
    may keep it. A task makes one in ``kernel``, ``measure``, ``setup``, … ; it is freed when the
    run is over, and metered as its node's.
    """

    def __init__(self) -> None:
        self._uuid, self._node = owned(self)
        self._lock = threading.Lock()
        self._total = self._highest = self._count = 0
        self._rooms: weakref.WeakSet[_Room] = weakref.WeakSet()
        self._own = threading.local()
        METERS.add(self)

    def array(self, key: Hashable, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return this thread's array of a key, C-contiguous; it holds anything."""
        dtype = np.dtype(dtype)
        nbytes = prod(shape) * dtype.itemsize
        room = getattr(self._own, "room", None) or self._new_room()
        buffer = room.buffers.get(key)
        if buffer is None or buffer.size < nbytes:
            buffer = self._grown(room, key, nbytes)
        return buffer[:nbytes].view(dtype).reshape(shape)

    def free(self) -> None:
        """Let go of all threads' buffers; a later call begins anew."""
        with self._lock:
            self._own = threading.local()
            self._rooms.clear()

    def usage(self) -> Usage:
        """Return what all threads have."""
        with self._lock:
            held = sum(room.nbytes for room in self._rooms)
            return Usage(
                "scratch",
                self._uuid,
                self._node,
                allocated=held,
                in_use=held,
                high_water=self._highest,
                total=self._total,
                loans=self._count,
            )

    def _new_room(self) -> _Room:
        with self._lock:
            room = self._own.room = _Room()
            self._rooms.add(room)
        return room

    def _grown(self, room: _Room, key: Hashable, nbytes: int) -> NDArray[np.uint8]:
        room.buffers.pop(key, None)  # the smaller one goes first
        buffer = room.buffers[key] = np.empty(nbytes, np.uint8)
        with self._lock:
            room.nbytes = sum(one.nbytes for one in room.buffers.values())
            self._total += nbytes
            self._count += 1
            self._highest = max(self._highest, sum(one.nbytes for one in self._rooms))
        return buffer


class _Room:
    """The buffers of one thread."""

    def __init__(self) -> None:
        self.buffers: dict[Hashable, NDArray[np.uint8]] = {}
        self.nbytes = 0


class Freed(Protocol):
    """Memory that is freed when the run is over."""

    def free(self) -> None:
        """Let go of it."""


class _Owner(NamedTuple):
    """Whose the memory is that is made meanwhile."""

    uuid: str
    node: str
    made: weakref.WeakSet[Freed]


_owner: ContextVar[_Owner | None] = ContextVar("limadask_scratch_owner", default=None)


@contextmanager
def owning(uuid: str, node: str, made: weakref.WeakSet[Freed]) -> Iterator[None]:
    """Let memory that is made meanwhile belong to a node; ``made`` knows it while it lives."""
    token = _owner.set(_Owner(uuid, node, made))
    try:
        yield
    finally:
        _owner.reset(token)


def owned(memory: Freed) -> tuple[str, str]:
    """Let memory belong to the node it is made for; return the acquisition and the node, or ""."""
    owner = _owner.get()
    if owner is None:
        return "", ""
    owner.made.add(memory)
    return owner.uuid, owner.node
