"""Integers that follow each other, kept as the steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

SMALL = np.int8, np.int16, np.int32
"""Types that steps are kept in, where they fit: of 64 bits otherwise."""
SHARE = 4
"""Steps are counted where there are that many times as many as are not like the one before."""
Dumped = tuple[int, str, bytes, bytes]
"""What a message holds of it: the first number, the steps' type, the steps, and their counts."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Integers in little memory: none for what is evenly spaced, 4 bytes for most times.

    Parameters
    ----------
    first:
        The first one.
    steps:
        Differences of neighbours.
    counts:
        How often each comes in a row; None for once.
    """

    first: int
    steps: NDArray[np.signedinteger[Any]]
    counts: NDArray[np.int64] | None

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Self:
        """Return one or more integers of 64 bits so."""
        steps = np.diff(numbers)
        starts = np.flatnonzero(np.diff(steps, prepend=steps[:1] + 1))
        if SHARE * len(starts) > len(steps):
            return cls(int(numbers[0]), _small(steps), None)
        return cls(int(numbers[0]), _small(steps[starts]), np.diff(starts, append=len(steps)))

    def __len__(self) -> int:
        """How many integers there are."""
        return 1 + (len(self.steps) if self.counts is None else int(self.counts.sum()))

    def all(self) -> NDArray[np.int64]:
        """Return them as they were."""
        steps = self.steps if self.counts is None else np.repeat(self.steps, self.counts)
        numbers = np.empty(len(steps) + 1, np.int64)
        numbers[0], numbers[1:] = self.first, steps
        return np.cumsum(numbers, out=numbers)

    def dump(self) -> Dumped:
        """Return it as plain data and bytes."""
        counts = b"" if self.counts is None else self.counts.tobytes()
        return self.first, self.steps.dtype.str, self.steps.tobytes(), counts

    @classmethod
    def load(cls, data: Dumped) -> Self:
        """Return what was dumped."""
        first, dtype, steps, counts = data
        known = np.frombuffer(counts, np.int64) if counts else None
        made = cls(int(first), np.frombuffer(steps, dtype), known)
        if made.steps.dtype.kind != "i" or (known is not None and len(known) != len(made.steps)):
            raise ValueError(f"these are no steps: {dtype}, {len(steps)} and {len(counts)} bytes")
        return made


def _small(steps: NDArray[np.int64]) -> NDArray[np.signedinteger[Any]]:
    """Return steps in the smallest type that holds all of them."""
    low, high = int(steps.min(initial=0)), int(steps.max(initial=0))
    for dtype in SMALL:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return steps.astype(dtype)
    return steps
