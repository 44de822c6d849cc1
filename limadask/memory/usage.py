"""What the memory of this process is used for, stage by stage."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

Stage = Literal["receive", "decode", "assemble", "scratch", "chunks", "hold", "observe"]
"""Where frames are while memory holds them: taken from the detector, decoded, put together from
parts, on their way from task to task, encoded for a saver, waiting for their processing, looked
at."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The memory of one stage.

    Parameters
    ----------
    stage:
        What it is for.
    uuid, node:
        The acquisition and the node that it belongs to; empty where it serves all.
    allocated, in_use:
        Bytes there are, and those that hold something now.
    high_water:
        Most bytes that were ever in use.
    total:
        Bytes allocated so far, those that were given back included: its growth is the allocation
        rate.
    loans:
        How often memory was lent so far.
    allocator:
        Where the memory comes from.
    mapped:
        Bytes of other processes' memory that can be read here; these count it as theirs.
    on_disk:
        Bytes that are kept in files for want of memory.
    reserved:
        Bytes of what is allocated that were set aside before, so that no budget counts them.
    unmapped:
        Bytes of what is allocated that lie in files in memory, and are not the process's own.
    """

    stage: Stage
    uuid: str = ""
    node: str = ""
    allocated: int = 0
    in_use: int = 0
    high_water: int = 0
    total: int = 0
    loans: int = 0
    allocator: str = "system"
    mapped: int = 0
    on_disk: int = 0
    reserved: int = 0
    unmapped: int = 0


class Metered(Protocol):
    """Something that holds memory and says how much."""

    def usage(self) -> Usage:
        """Return what it holds now; may be called from any thread."""


class Meters:
    """All that holds memory in one process, for as long as it lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: weakref.WeakSet[Metered] = weakref.WeakSet()

    def add(self, one: Metered) -> None:
        """Know something from now on, until it is gone."""
        with self._lock:
            self._known.add(one)

    def usages(self) -> list[Usage]:
        """Return what all of them hold now."""
        with self._lock:
            known = list(self._known)
        return [one.usage() for one in known]


METERS = Meters()
"""Those of this process."""


class Tally:
    """Counts memory that comes and goes, for those that have no pool of it.

    Parameters
    ----------
    stage, uuid, node:
        What it is for, and whose.
    """

    def __init__(self, stage: Stage, uuid: str = "", node: str = "") -> None:
        self._stage, self._uuid, self._node = stage, uuid, node
        self._lock = threading.Lock()
        # what goes is told from destructors, at any moment: a deque allows just that
        self._gone: deque[int] = deque()
        self._held = self._highest = self._total = self._count = 0
        METERS.add(self)

    def add(self, nbytes: int) -> None:
        """Count bytes that are held from now on."""
        with self._lock:
            self._settle()
            self._held += nbytes
            self._highest = max(self._highest, self._held)
            self._total += nbytes
            self._count += 1

    def remove(self, nbytes: int) -> None:
        """Count bytes that are not held any more; may be called from a destructor."""
        self._gone.append(nbytes)

    def usage(self) -> Usage:
        """Return what is held."""
        with self._lock:
            self._settle()
            return Usage(
                self._stage,
                self._uuid,
                self._node,
                allocated=self._held,
                in_use=self._held,
                high_water=self._highest,
                total=self._total,
                loans=self._count,
            )

    def _settle(self) -> None:
        with suppress(IndexError):
            while True:
                self._held -= self._gone.popleft()
