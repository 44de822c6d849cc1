"""When frames were exposed, and who took them: 4 bytes a frame, where blocks are not tiny."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from limadask.ledger.steps import Dumped, Steps

LOOSE, FRAMES = 256, 4096
"""Blocks of a receiver, and about how many frames in these, after which they are gathered."""
Block = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Frame numbers, and their times."""
Gathered = tuple[Steps, Steps, str]
"""The same of many blocks, and who took them."""


class Stamps:
    """Times and receivers of frames; where receivers take turns no two neighbours have the same."""

    def __init__(self) -> None:
        self._gathered: list[Gathered] = []
        self._loose: dict[str, list[Block]] = defaultdict(list)

    def add(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them."""
        if not len(numbers):
            return
        loose = self._loose[receiver]
        loose.append((numbers, timestamps))
        # an array costs ten times what is in it, of a small block
        if len(loose) >= LOOSE or len(loose) * len(numbers) >= FRAMES:
            self._gathered.append(_together(loose, receiver))
            loose.clear()

    def gather(self) -> None:
        """Keep all of them in little memory: no more will come."""
        self._gathered = self._all()
        self._loose.clear()

    def receivers(self) -> set[str]:
        """Return all who took frames."""
        return {*self._loose, *(receiver for *_, receiver in self._gathered)}

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], str]]:
        """Yield frame numbers, their times, and who took them."""
        for numbers, times, receiver in self._gathered:
            yield numbers.all(), times.all(), receiver
        for receiver, loose in self._loose.items():
            for block in loose:
                yield *block, receiver

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
        loose = [_together(blocks, name) for name, blocks in self._loose.items() if blocks]
        return self._gathered + loose


def _together(loose: Sequence[Block], receiver: str) -> Gathered:
    """Return blocks of one receiver together, in the order of frames."""
    numbers, times = (np.concatenate(column) for column in zip(*loose, strict=True))
    order = np.argsort(numbers, kind="stable")  # blocks do not come back in order
    return Steps.of(numbers[order]), Steps.of(times[order]), receiver
