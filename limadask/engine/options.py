"""What the coordinator is told of a run in plain words; the rest is bytes to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take, seconds."""

    prepare: float = 120.0
    command: float = 20.0
    settle: float = 20.0
    close: float = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is like.

    Parameters
    ----------
    receivers, workers, shared:
        The topology.
    max_absent:
        Frames that may be absent: a number, a fraction as a float, None for any.
    label:
        The nodes' names, for the dashboard.
    fuse:
        Whether all nodes of a block are one task.
    """

    receivers: int
    workers: int
    shared: bool
    max_absent: int | float | None
    label: str
    fuse: bool = True
