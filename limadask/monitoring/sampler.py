"""What one process uses: memory by stage, processor, disk and network."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

import psutil

from limadask.memory import METERS, Stage, Usage

STAGES: tuple[Stage, ...] = get_args(Stage)
"""All stages that memory is metered for."""
EVERY = 1.0
"""Seconds between two looks: rates are means over one to two of them."""
LEAST = 0.05
"""Seconds that rates are means over at least; before, they are not known."""
UNKNOWN = float("nan")


class Totals(NamedTuple):
    """What a process has used since its begin, and the network of its computer."""

    cpu: float
    disk_read: float
    disk_write: float
    network_received: float
    network_sent: float


class Sampler:
    """Looks at this process every second, so that rates are known at once when somebody asks.

    Any thread may ask.

    Parameters
    ----------
    usages:
        Returns what everything that is metered holds.
    clock:
        Seconds of the monotonic clock.
    """

    def __init__(
        self,
        usages: Callable[[], Iterable[Usage]] = METERS.usages,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process, self._usages, self._clock = psutil.Process(), usages, clock
        self.obtained: Counter[str] = Counter()
        """Bytes that were allocated by stage, of memory that is gone included."""
        self._known: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()
        self._looks: deque[tuple[float, Totals, Counter[str]]] = deque(maxlen=2)
        self.look()

    def look(self) -> None:
        """Remember how much was used until now."""
        self._count()
        self._looks.append((self._clock(), self._totals(), self.obtained.copy()))

    def told(self) -> dict[str, Any]:
        """Return what is used now, and rates over the last second or two, as plain data.

        Bytes, bytes/s, and cores; NaN where this system does not tell.
        """
        usages = self._count()
        now, totals = self._clock(), self._totals()
        then, before, obtained = self._looks[0]
        seconds = now - then if now - then >= LEAST else UNKNOWN
        rates = {
            name: (value - known) / seconds
            for name, value, known in zip(Totals._fields, totals, before, strict=True)
        }
        stages = {
            stage: {
                "allocated": sum(one.allocated for one in usages if one.stage == stage),
                "in_use": sum(one.in_use for one in usages if one.stage == stage),
                "high_water": sum(one.high_water for one in usages if one.stage == stage),
                "obtained": self.obtained[stage],
                "allocation_rate": (self.obtained[stage] - obtained[stage]) / seconds,
                "on_disk": sum(one.on_disk for one in usages if one.stage == stage),
                "allocator": _allocators(one for one in usages if one.stage == stage),
            }
            for stage in STAGES
        }
        return {"stages": stages, "memory": self._process.memory_info().rss, **rates}

    def totals(self) -> dict[str, float]:
        """Return what was used until now: cores' seconds, and bytes."""
        self._count()
        return {"allocated": float(sum(self.obtained.values())), **self._totals()._asdict()}

    def _count(self) -> list[Usage]:
        """Add what was allocated since the last time; what is new has allocated all it has."""
        totals: Counter[tuple[str, str, str]] = Counter()
        with self._lock:
            usages = list(self._usages())
            for one in usages:
                totals[one.stage, one.uuid, one.node] += one.total
            for key, total in totals.items():
                self.obtained[key[0]] += max(0, total - self._known.get(key, 0))
            self._known = dict(totals)
        return usages

    def _totals(self) -> Totals:
        times = self._process.cpu_times()
        disk = _counters(lambda: self._process.io_counters(), "read_bytes", "write_bytes")
        network = _counters(psutil.net_io_counters, "bytes_recv", "bytes_sent")
        return Totals(times.user + times.system, *disk, *network)


def _counters(ask: Callable[[], Any], *names: str) -> tuple[float, ...]:
    """Return some counters, NaN where the system has none, or lets nobody see them."""
    try:
        counters = ask()
    except (AttributeError, OSError, psutil.Error):
        counters = None
    return tuple(float(getattr(counters, name, UNKNOWN)) for name in names)


def _allocators(usages: Iterable[Usage]) -> str:
    """Return where the memory of a stage comes from, empty where it has none."""
    names = (one.allocator for one in usages if one.allocated or one.on_disk)
    return ", ".join(sorted(set(names)))


def high_water(usages: Iterable[Usage], uuid: str) -> dict[str, int]:
    """Return the most bytes in use by stage, of one acquisition and of what serves all."""
    found: Counter[str] = Counter()
    for one in usages:
        if one.uuid in (uuid, ""):
            found[one.stage] += one.high_water
    return dict(found)
