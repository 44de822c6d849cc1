"""When frames were exposed, and who took them: 4 bytes a frame, where blocks are not tiny."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from limadask.ledger.steps import Dumped, Steps

LOOSE, FRAMES = 256, 4096
"""Blocks of a receiver, and frames in these, after which they are gathered."""
Stamp = tuple[NDArray[np.int64], NDArray[np.int64], str]
"""Frame numbers, their times, and who took them."""
Gathered = tuple[Steps, Steps, str]
"""The same, of many blocks of one receiver."""


class Stamps:
    """Times and receivers of frames; where receivers take turns no two neighbours have the same."""

    def __init__(self) -> None:
        self._gathered: list[Gathered] = []
        self._loose: dict[str, list[Stamp]] = defaultdict(list)

    def add(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them."""
        if not len(numbers):
            return
        loose = self._loose[receiver]
        loose.append((numbers, timestamps, receiver))
        # an array costs ten times what is in it, of a small block
        if len(loose) >= LOOSE or sum(len(one) for one, *_ in loose) >= FRAMES:
            self._gathered.append(_together(loose))
            loose.clear()

    def gather(self) -> None:
        """Keep all of them in little memory: no more will come."""
        self._gathered = self._all()
        self._loose.clear()

    def receivers(self) -> set[str]:
        """Return all who took frames."""
        return {*self._loose, *(receiver for *_, receiver in self._gathered)}

    def __iter__(self) -> Iterator[Stamp]:
        """Yield frame numbers, their times, and who took them."""
        for numbers, times, receiver in self._gathered:
            yield numbers.all(), times.all(), receiver
        for loose in self._loose.values():
            yield from loose

    def dump(self) -> list[tuple[Dumped, Dumped, str]]:
        """Return them as plain data and bytes."""
        return [(numbers.dump(), times.dump(), name) for numbers, times, name in self._all()]

    @classmethod
    def load(cls, data: list[tuple[Dumped, Dumped, str]]) -> Stamps:
        """Return what was dumped."""
        made = cls()
        for numbers, times, name in data:
            made._gathered.append((Steps.load(numbers), Steps.load(times), name))
            if len(made._gathered[-1][0]) != len(made._gathered[-1][1]):
                raise ValueError(f"there are not as many times as frames that {name!r} took")
        return made

    def _all(self) -> list[Gathered]:
        return self._gathered + [_together(loose) for loose in self._loose.values() if loose]


def _together(loose: Sequence[Stamp]) -> Gathered:
    """Return the stamps of one receiver together, in the order of frames."""
    numbers = np.concatenate([numbers for numbers, *_ in loose])
    times = np.concatenate([times for _, times, _ in loose])
    order = np.argsort(numbers, kind="stable")  # blocks do not come back in order
    return Steps.of(numbers[order]), Steps.of(times[order]), loose[0][2]
