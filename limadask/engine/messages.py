"""What the client, the scheduler and the workers tell each other.

The scheduler never opens what plugins made: it passes pickled bytes on.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from limadask.detector import Deal, Detector, DetectorInfo
from limadask.engine.gaps import Absence, merged
from limadask.engine.receiving import Progress
from limadask.errors import ConfigError
from limadask.frames import Spec, Status
from limadask.parameters import (
    AcquisitionParameters,
    Buffers,
    HardwareParameters,
    Policy,
    SoftwareParameters,
    Topology,
)
from limadask.pipeline import Failure, Outcome, Pipeline
from limadask.timeseries import Polled


@dataclass(frozen=True, slots=True)
class Request:
    """Everything a worker needs to know of an acquisition; a copy that nobody else holds."""

    uuid: str
    detector: Detector
    pipeline: Pipeline
    asked: AcquisitionParameters
    policy: Policy
    buffers: Buffers
    metadata: dict[str, Any]
    keep: tuple[str, ...] = ()
    fuse: bool = True
    topology: Topology = field(default_factory=Topology)
    polled: dict[str, Polled] = field(default_factory=dict)

    @property
    def is_apart(self) -> bool:
        """Whether parts of frames are processed apart from each other, and never put together."""
        return self.topology.dispatch == "partial" and not self.pipeline.assembles

    def deal(self, index: int = 0) -> Deal:
        """Return which frames fall to a receiver."""
        return Deal(self.topology.dispatch, index, self.topology.receivers)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the detector really took, and what follows from it; made on the control worker."""

    info: DetectorInfo
    hardware: HardwareParameters
    raw: Spec
    nb_frames_per_block: int
    nb_slots: int
    patience: float
    prepares_ahead: bool = False
    pauses: bool = False
    """Whether the detector itself can."""
    parts: tuple[Spec, ...] = ()
    """What each receiver delivers, where each has a part of every frame."""
    is_apart: bool = False
    """Whether these parts are processed apart from each other."""
    packs: bool = False
    """Whether frames come compressed."""
    nb_least_slots: int = 2
    """Blocks that the pool has room for from the beginning; ``nb_slots`` is the most."""

    @property
    def is_matched(self) -> bool:
        """Whether the parts of a frame come together on one worker."""
        return bool(self.parts) and not self.is_apart


@dataclass(frozen=True, slots=True)
class Ready:
    """What the client is told when everything is prepared."""

    user: AcquisitionParameters
    hardware: HardwareParameters
    software: SoftwareParameters
    outputs: dict[str, Any]
    """Spec or Products of every node."""
    files: dict[str, str]
    """Master file of every saver."""
    observed: tuple[str, ...] = ()
    """Nodes that can be looked at."""
    held: tuple[str, ...] = ()
    """Nodes whose blocks are kept for somebody who takes them as futures."""


def dumps(value: Any) -> bytes:
    """Pickle anything, also what was defined in a notebook."""
    return bytes(cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def loads(data: bytes) -> Any:
    """Undo :func:`dumps`."""
    return pickle.loads(data)  # noqa: S301 - from our own cluster


def prepared_message(prepared: Prepared, detector: Detector) -> dict[str, Any]:
    """Return what the coordinator is told when the detector is configured."""
    hardware = prepared.hardware
    return {
        "prepared": dumps(prepared),
        "nb_frames": prepared.raw.nb_frames,
        "per_block": prepared.nb_frames_per_block,
        "prepares_ahead": prepared.prepares_ahead,
        "pauses": prepared.pauses or hardware.trigger_mode == "software",
        "recorded": dict(detector.recorded),
        "timing": {
            "period": hardware.period,
            "trigger_mode": hardware.trigger_mode,
            "per_trigger": hardware.nb_frames_per_trigger,
        },
    }


def receipt(
    outcome: Outcome, born: float = 0.0, handed: float = 0.0, taken: float = 0.0
) -> dict[str, Any]:
    """Return what the coordinator is told of a block that ends now: plain data and bytes.

    Parameters
    ----------
    outcome:
        What came of it.
    born, handed, taken:
        As in :meth:`limadask.pipeline.timing.Timing.told`.
    """
    stages, times = outcome.timing.told(born, handed, taken)
    status = outcome.status()
    odd = [
        (number, int(fate), outcome.cause(number))
        for number, fate in zip(outcome.numbers.tolist(), status.tolist(), strict=True)
        if fate != Status.PRESENT
    ]
    return {
        "ending": "data",
        "numbers": outcome.numbers.tobytes(),
        "timestamps": outcome.timestamps.tobytes(),
        "odd": odd,
        "missing": outcome.missing(),
        "products": {node: dumps(parts) for node, parts in outcome.products.items()},
        "failures": _joined(outcome.failures),
        "notes": outcome.notes,
        "stages": stages,
        "times": times,
    }


def check_polled(polled: Mapping[str, Polled]) -> None:
    """Refuse functions that cannot be sent to a worker.

    Raises
    ------
    ConfigError
        Naming the source.
    """
    for name, source in polled.items():
        try:
            dumps(source)
        except Exception as error:  # pickling raises whatever the objects' own code does
            raise ConfigError(
                f"cannot be sent to a worker: {error}", node="metadata", field=name,
                value=source.function,
                allowed="a function without locks, files or connections; open these inside it",
            ) from error  # fmt: skip


def _joined(failures: Sequence[Failure]) -> list[tuple[str, int, int, str, bool]]:
    """Return failures as plain data, those of neighbouring frames as one."""
    joined: list[tuple[str, int, int, str, bool]] = []
    for one in failures:
        told = (one.node, one.first, one.last, one.text, one.abort)
        before = joined[-1] if joined else None
        if before and (before[0], before[2] + 1, *before[3:]) == (told[0], told[1], *told[3:]):
            told = (one.node, joined.pop()[1], *told[2:])
        joined.append(told)
    return joined


def progress_message(progress: Progress, absences: Sequence[Absence], deal: Deal) -> dict[str, Any]:
    """Return how far a receiver has come, with some absences.

    These are first frame, last frame + 1, step and cause.
    """
    return {
        "received": progress.received,
        "next": progress.seen,
        "blocks": progress.blocks,
        "absences": [
            (deal.number(one.first), deal.number(one.stop - 1) + 1, deal.step, one.cause)
            for one in merged(absences)
        ],
    }
