"""What happens in a run, as values a user waits for: no callbacks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from limadask.memory.pressure import Level


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an acquisition.

    Parameters
    ----------
    uuid:
        The acquisition.
    time:
        When, seconds since 1970 on the scheduler's clock.
    """

    uuid: str
    time: float

    kinds: ClassVar[dict[str, type[Event]]] = {}

    def to_message(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"kind": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """A side entered a state."""

    side: Literal["detector", "processing"]
    state: str


@dataclass(frozen=True, slots=True)
class FramesDone(Event):
    """Frames have gone through the pipeline.

    Parameters
    ----------
    count:
        Frames done so far.
    last:
        The highest of their numbers.
    """

    count: int
    last: int


@dataclass(frozen=True, slots=True)
class FramesSaved(Event):
    """Frames ``first`` to ``last`` (included) are safe: all sinks have flushed them.

    Not told of frames that were vetoed, or that a task raised for.

    Told block by block, to whom asks for it: ``acq.events(saved=True)``.
    """

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FramesAbsent(Event):
    """Every ``step``-th frame from ``first`` to ``last`` (included) will not come, and why."""

    first: int
    last: int
    cause: str
    step: int = 1


@dataclass(frozen=True, slots=True)
class FramesPartial(Event):
    """Frames lack pixels, or one of their branches failed.

    Parameters
    ----------
    ranges:
        The frames: first and last of each range, included.
    cause:
        Why.
    """

    ranges: tuple[tuple[int, int], ...]
    cause: str


@dataclass(frozen=True, slots=True)
class FramesVetoed(Event):
    """Frames were refused by a veto.

    Parameters
    ----------
    ranges:
        The frames: first and last of each range, included.
    cause:
        Which node refused them.
    """

    ranges: tuple[tuple[int, int], ...]
    cause: str


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """A task raised for frames ``first`` to ``last`` (included)."""

    node: str
    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class PressureChanged(Event):
    """Memory for frames is fuller than before, or less full.

    Parameters
    ----------
    level:
        ``ok``, ``high``, ``critical``, or ``overrun``: frames wait for memory, or are left out.
    seconds_left:
        Seconds until it is full, at the rate of the last seconds; inf where it does not fill.
    worker:
        Name of the worker; empty where the run itself is meant, which is as its worst worker.
    """

    level: Level
    seconds_left: float
    worker: str


@dataclass(frozen=True, slots=True)
class FileClosed(Event):
    """A node's master file is complete."""

    node: str
    path: str


_KINDS = (
    StateChanged,
    FramesDone,
    FramesSaved,
    FramesAbsent,
    FramesPartial,
    FramesVetoed,
    TaskFailed,
    PressureChanged,
    FileClosed,
)
Event.kinds.update({kind.__name__: kind for kind in _KINDS})


def from_message(message: dict[str, Any]) -> Event:
    """Return the event that a message tells of."""
    fields = dict(message)
    if "ranges" in fields:  # lists, where it went by JSON
        fields["ranges"] = tuple(map(tuple, fields["ranges"]))
    return Event.kinds[fields.pop("kind")](**fields)
