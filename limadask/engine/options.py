"""What the coordinator is told of a run in plain words; the rest is bytes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from limadask.detector import Deal
from limadask.parameters import Dispatch, OnOverrun


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take, seconds."""

    prepare: float = 120.0
    command: float = 20.0
    settle: float = 20.0
    settle_stalled: float = 3.0
    close: float = 120.0

    def settling(self, is_stalled: bool) -> float:
        """Return what blocks under way may take to end: not long where nothing moved anyway."""
        return self.settle_stalled if is_stalled else self.settle


@dataclass(frozen=True, slots=True)
class Timing:
    """When frames come, as the detector took it.

    Parameters
    ----------
    period:
        Seconds from frame to frame.
    trigger_mode, per_trigger:
        What starts frames, and how many.
    """

    period: float = 0.0
    trigger_mode: str = "internal"
    per_trigger: int = 1

    def owed(self, triggers: int) -> int | None:
        """Return how many frames have been started; None for all there are."""
        if self.trigger_mode == "internal":
            return None
        return triggers * self.per_trigger if self.trigger_mode == "software" else 0


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is like.

    Parameters
    ----------
    receivers, workers, shared, dispatch:
        The topology.
    max_absent:
        Frames that may be absent: a number, a fraction as a float, None for any.
    label:
        The nodes' names, for the dashboard.
    fuse:
        Whether all nodes of a block are one task.
    stall_timeout:
        Seconds without any progress, besides three frame periods, after which it fails.
    priority:
        Its blocks go before those of a lower one; among equals the newest acquisition goes first.
    apart:
        Whether parts of frames are processed apart from each other.
    deferred:
        Whether its frames are held until it is told to process them.
    needs_gpu:
        Whether only workers with a GPU can process it.
    on_overrun:
        What is done when memory is full.
    sources, polls:
        Names and units of the sources of values in its metadata; whether some are polled.
    """

    receivers: int
    workers: int
    shared: bool
    max_absent: int | float | None
    label: str
    dispatch: Dispatch = "single"
    fuse: bool = True
    stall_timeout: float = 30.0
    priority: int = 0
    apart: bool = False
    deferred: bool = False
    needs_gpu: bool = False
    on_overrun: OnOverrun = "wait"
    sources: Mapping[str, str] = field(default_factory=dict)
    polls: bool = False

    @property
    def matched(self) -> bool:
        """Whether the parts of a frame come together on one worker."""
        return self.dispatch == "partial" and not self.apart

    def deal(self, index: int) -> Deal:
        """Return which frames fall to a receiver."""
        return Deal(self.dispatch, index, self.receivers)
