"""Integers that follow each other, kept as the steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

SMALL = np.int8, np.int16, np.int32
"""Types that numbers are kept in, where they fit: of 64 bits otherwise."""
SHARE = 4
"""How often numbers must be equal to the one before, on average, to be counted."""
Packed = tuple[str, bytes]
"""What a message holds of an array: its type and its bytes."""
Dumped = tuple[int, Packed, Packed | None]
"""What it holds of integers: the first one, the steps, and how often each comes."""


@dataclass(frozen=True, slots=True, eq=False)
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
    counts: NDArray[np.signedinteger[Any]] | None

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Self:
        """Return one or more integers of 64 bits so."""
        first, steps = int(numbers[0]), np.diff(numbers)
        if (counted := repeats(steps)) is None:
            return cls(first, _small(steps), None)
        starts, counts = counted
        return cls(first, _small(steps[starts]), _small(counts))

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
        return (
            self.first,
            _packed(self.steps),
            None if self.counts is None else _packed(self.counts),
        )

    @classmethod
    def load(cls, data: Dumped) -> Self:
        """Return what was dumped.

        Raises
        ------
        ValueError
            When it was not: it is no steps, or not as many counts as steps.
        """
        first, packed, counted = data
        steps, counts = _unpacked(packed), None if counted is None else _unpacked(counted)
        if counts is not None and (len(counts) != len(steps) or (counts < 1).any()):
            raise ValueError(f"{len(steps)} steps have the counts {counts}")
        return cls(int(np.int64(first)), steps, counts)


def repeats(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return where each run of equal values starts, and how long it is; None if most are short."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] + values.dtype.type(1)))
    if SHARE * len(starts) > len(values):
        return None
    return starts, np.diff(starts, append=len(values))


def _small(numbers: NDArray[np.signedinteger[Any]]) -> NDArray[np.signedinteger[Any]]:
    """Return numbers in the smallest type that holds all of them."""
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    for dtype in SMALL:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return numbers.astype(dtype)
    return numbers


def _packed(numbers: NDArray[np.signedinteger[Any]]) -> Packed:
    return numbers.dtype.str, numbers.tobytes()


def _unpacked(packed: Packed) -> NDArray[np.signedinteger[Any]]:
    dtype, data = packed
    numbers = np.frombuffer(data, dtype)
    if numbers.dtype.kind != "i":
        raise ValueError(f"these are no integers: {dtype}")
    return numbers
