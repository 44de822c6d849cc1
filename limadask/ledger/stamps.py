"""When frames were exposed, and who took them: 4 bytes a frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from limadask.ledger.steps import Dumped, Steps

LOOSE = 256
"""Stamps after which they are gathered."""
Stamp = tuple[NDArray[np.int64], NDArray[np.int64], str]
"""Frame numbers, their times, and who took them."""
Gathered = tuple[Steps, Steps, str]
"""The same, of many blocks of one receiver."""


class Stamps:
    """Times and receivers of frames; where receivers take turns no two neighbours have the same."""

    def __init__(self) -> None:
        self._gathered: list[Gathered] = []
        self._loose: list[Stamp] = []

    def add(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them."""
        if not len(numbers):
            return
        self._loose.append((numbers, timestamps, receiver))
        if len(self._loose) == LOOSE:  # an array costs ten times what is in it, of a small block
            self._gathered += self._together()
            self._loose.clear()

    def receivers(self) -> set[str]:
        """Return all who took frames."""
        return {receiver for *_, receiver in (*self._gathered, *self._loose)}

    def __iter__(self) -> Iterator[Stamp]:
        """Yield frame numbers, their times, and who took them."""
        for numbers, times, receiver in self._gathered:
            yield numbers.all(), times.all(), receiver
        yield from self._loose

    def dump(self) -> list[tuple[Dumped, Dumped, str]]:
        """Return them as plain data and bytes."""
        gathered = [*self._gathered, *self._together()]
        return [(numbers.dump(), times.dump(), name) for numbers, times, name in gathered]

    @classmethod
    def load(cls, data: list[tuple[Dumped, Dumped, str]]) -> Stamps:
        """Return what was dumped."""
        made = cls()
        for numbers, times, name in data:
            made._gathered.append((Steps.load(numbers), Steps.load(times), name))
            if len(made._gathered[-1][0]) != len(made._gathered[-1][1]):
                raise ValueError(f"there are not as many times as frames that {name!r} took")
        return made

    def _together(self) -> Iterator[Gathered]:
        """Yield the loose stamps of each receiver together, in the order of frames."""
        by_receiver: dict[str, list[Stamp]] = defaultdict(list)
        for one in self._loose:
            by_receiver[one[2]].append(one)
        for receiver, some in by_receiver.items():
            numbers = np.concatenate([numbers for numbers, *_ in some])
            times = np.concatenate([times for _, times, _ in some])
            order = np.argsort(numbers, kind="stable")  # blocks do not come back in order
            yield Steps.of(numbers[order]), Steps.of(times[order]), receiver
