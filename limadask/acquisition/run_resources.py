"""What the workers of a run hold for it now, and how full that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from limadask.memory import Level


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What one worker holds for a run.

    Parameters
    ----------
    level:
        ``ok``, ``high``, ``critical``, or ``overrun``: frames wait for memory, or are left out.
    seconds_left:
        Seconds until its memory is full, at the rate of the last seconds; inf where it does not
        fill.
    slots, free:
        Blocks of the receiver's pool there, and those of them that are free; 0 where nothing is
        received.
    slot_nbytes:
        Bytes of each.
    backlog:
        Blocks received that have not been processed.
    """

    level: Level = "ok"
    seconds_left: float = inf
    slots: int = 0
    free: int = 0
    slot_nbytes: int = 0
    backlog: int = 0

    @property
    def in_use(self) -> int:
        """Blocks of the pool that are not free."""
        return self.slots - self.free


@dataclass(frozen=True, slots=True)
class RunResources:
    """What all workers of a run hold for it.

    Parameters
    ----------
    level, seconds_left:
        As those of its worst worker.
    workers:
        The workers, by name.
    """

    level: Level
    seconds_left: float
    workers: Mapping[str, WorkerResources]

    @classmethod
    def load(cls, told: Mapping[str, Any]) -> RunResources:
        """Return what the coordinator tells as plain data."""
        workers = {name: WorkerResources(**_filled(one)) for name, one in told["workers"].items()}
        return cls(**{**_filled(told), "workers": workers})


def _filled(told: Mapping[str, Any]) -> dict[str, Any]:
    left = told["seconds_left"]
    return {**told, "seconds_left": inf if left is None else left}
