"""When frames were exposed, and who took them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LOOSE = 256
"""Stamps after which they are gathered."""
Stamp = tuple[NDArray[np.int64], NDArray[np.int64], str]
"""Frame numbers, or the first two of evenly spaced ones, their times, and who took them."""


class Stamps:
    """Times and receivers of frames; where receivers take turns no two neighbours have the same."""

    def __init__(self) -> None:
        self._stamps: list[Stamp] = []
        self._loose = 0

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them."""
        if not len(numbers):
            return
        self._stamps.append((_spaced(numbers), timestamps, receiver))
        self._loose += 1
        if self._loose == LOOSE:  # an array costs ten times what is in it, where blocks are small
            self._gather()

    def receivers(self) -> set[str]:
        """Return all who took frames."""
        return {receiver for *_, receiver in self._stamps}

    def __iter__(self) -> Iterator[Stamp]:
        """Yield frame numbers, their times, and who took them."""
        for one in self._stamps:
            yield _numbers(one), one[1], one[2]

    def dump(self) -> list[tuple[bytes, bytes, str]]:
        """Return them as plain data and bytes."""
        return [(numbers.tobytes(), times.tobytes(), name) for numbers, times, name in self._stamps]

    @classmethod
    def load(cls, data: list[tuple[bytes, bytes, str]]) -> Stamps:
        """Return what was dumped."""
        made = cls()
        made._stamps = [
            (np.frombuffer(numbers, np.int64), np.frombuffer(times, np.int64), name)
            for numbers, times, name in data
        ]
        return made

    def _gather(self) -> None:
        """Put the last stamps of each receiver into one array."""
        loose, self._stamps[-self._loose :] = self._stamps[-self._loose :], []
        self._loose = 0
        by_receiver: dict[str, list[Stamp]] = defaultdict(list)
        for one in loose:
            by_receiver[one[2]].append(one)
        for receiver, some in by_receiver.items():
            numbers = np.concatenate([_numbers(one) for one in some])
            times = np.concatenate([times for _, times, _ in some])
            self._stamps.append((_spaced(numbers), times, receiver))


def _spaced(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first two of evenly spaced numbers: they tell all."""
    if len(numbers) > 2 and not np.diff(numbers, 2).any():
        return numbers[:2].copy()
    return numbers


def _numbers(stamp: Stamp) -> NDArray[np.int64]:
    """Return all numbers of a stamp."""
    numbers, times, _ = stamp
    if len(numbers) == len(times):
        return numbers
    first, second = numbers.tolist()
    step = second - first
    return np.arange(first, first + step * len(times), step, dtype=np.int64)
