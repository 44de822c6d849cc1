"""What became of a worker's frames, as its files tell."""

from __future__ import annotations

from collections.abc import Sequence

from limadask.frames import Spec, Status
from limadask.task import Recovered

Fates = dict[int, tuple[int, str]]
"""Status and cause by frame number."""


def fates_of(recovered: Recovered, spec: Spec) -> Fates:
    """Return the fates of the detector's frames: several where what is saved are sums."""
    columns = zip(recovered.numbers.tolist(), recovered.status.tolist(), strict=True)
    return {
        one: (status, recovered.causes.get(number, "" if status == Status.PRESENT else "detector"))
        for number, status in columns
        for one in spec.merged(number)
    }


def saved_by_all(found: Sequence[Fates]) -> Fates:
    """Return what became of frames that one sink or several had saved.

    One that some sink has not got is partial, but for vetoed ones: sinks may leave these out.
    """
    fates: Fates = {}
    for number in dict.fromkeys(number for one in found for number in one):
        told = [one[number] for one in found if number in one]
        fate = next((one for one in told if one[0] != Status.PRESENT), told[0])
        if len(told) < len(found) and fate[0] == Status.PRESENT:
            fate = int(Status.PARTIAL), "worker_lost"
        fates[number] = fate
    return fates
