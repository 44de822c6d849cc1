"""Status and cause of each frame: a byte a frame, two where there are more than 256 fates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask.ledger.steps import repeats

_WEIGHT = {
    Status.PENDING: 0,
    Status.ABSENT: 1,
    Status.VETOED: 2,
    Status.PARTIAL: 3,
    Status.PRESENT: 4,
}
"""A frame's record only ever moves up: data that was found outweighs a loss that was presumed."""
MOST = 1 << 16
"""Fates that two bytes tell apart."""
Where = slice | NDArray[np.int64]
"""Frames: a range of them, or their numbers."""


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Neighbouring frames of one fate: numbers ``first ≤ i < stop``."""

    first: int
    stop: int
    status: Status
    cause: str = ""


class FateTable:
    """The fates there are, each with a code; several ledgers may share one.

    A fate is a status and its cause. Code 0 is that of pending frames.
    """

    def __init__(self) -> None:
        self.fates: list[tuple[Status, str]] = []
        self._codes: dict[tuple[Status, str], int] = {}
        self.status = self.weights = np.zeros(0, np.uint8)
        self.code(Status.PENDING, "")

    def code(self, status: Status, cause: str) -> int:
        """Return the code of a fate."""
        fate = status, cause
        if fate not in self._codes:
            if len(self.fates) >= MOST - len(Status):  # some plugin gives each frame its own cause
                fate = status, "other"
            self._codes.setdefault(fate, len(self.fates))
            if self._codes[fate] == len(self.fates):
                self.fates.append(fate)
                self.status = np.append(self.status, np.uint8(status))
                self.weights = np.append(self.weights, np.uint8(_WEIGHT[status]))
        return self._codes[fate]

    def runs(
        self, numbers: NDArray[np.int64], codes: NDArray[np.integer[Any]]
    ) -> Iterator[FrameRun]:
        """Yield runs of neighbours of one fate, for increasing frame numbers with their codes."""
        edges = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(codes) != 0)) + 1
        for start, stop in pairwise([0, *edges.tolist(), len(codes)] if len(codes) else []):
            fate = self.fates[codes[start]]
            yield FrameRun(int(numbers[start]), int(numbers[stop - 1]) + 1, *fate)


class Fates:
    """The fate of each frame, as codes of a table.

    Parameters
    ----------
    table:
        The fates that the codes stand for.
    """

    def __init__(self, table: FateTable) -> None:
        self.table, self.size = table, 0
        self._codes: NDArray[np.uint8 | np.uint16] = np.zeros(0, np.uint8)
        self._counts = np.zeros(0, np.int64)

    def mark(self, where: Where, code: int) -> None:
        """Record a fate, where it outweighs what is known."""
        if code > np.iinfo(self._codes.dtype).max:
            self._codes = self._codes.astype(np.uint16)
        old = self._reached(where)
        lighter = self.table.weights[old] < self.table.weights[code]
        changed = np.bincount(old[lighter], minlength=len(self.table.fates))
        self._counts = _padded(self._counts, len(changed)) - changed
        self._counts[code] += changed.sum()
        if isinstance(where, slice):
            old[lighter] = code  # a view
        else:
            self._codes[where[lighter]] = code

    def codes(self, first: int, stop: int) -> NDArray[np.uint16]:
        """Return the codes of frames ``first ≤ i < stop``."""
        known = self._codes[first : min(stop, self.size)]
        return _padded(known.astype(np.uint16), stop - first)

    def runs(self, first: int, stop: int) -> Iterator[FrameRun]:
        """Yield runs of one fate among the frames ``first ≤ i < stop``, pending ones too."""
        return self.table.runs(np.arange(first, stop), self.codes(first, stop))

    def counts(self) -> Iterator[tuple[Status, str, int]]:
        """Yield every fate that is not pending, and how many frames have it."""
        for (status, cause), count in zip(self.table.fates, self._counts.tolist(), strict=False):
            if status:
                yield status, cause, count

    def last(self, status: Sequence[Status]) -> int:
        """Return the highest frame of these fates, -1 where there is none."""
        wanted = np.isin(self.table.status, status)
        for stop in range(self.size, 0, -_PAGE):  # most often it is among the last
            start = max(0, stop - _PAGE)
            found = np.flatnonzero(wanted[self._codes[start:stop]])
            if len(found):
                return start + int(found[-1])
        return -1

    def dump(self) -> dict[str, Any]:
        """Return it as plain data and bytes."""
        codes, lengths = self.codes(0, self.size), b""
        if (counted := repeats(codes)) is not None:
            codes, lengths = codes[counted[0]], counted[1].tobytes()
        told = [(int(status), cause) for status, cause in self.table.fates]
        return {"fates": told, "codes": codes.tobytes(), "lengths": lengths}

    @classmethod
    def load(cls, data: dict[str, Any], table: FateTable) -> Fates:
        """Return what was dumped, in terms of another table."""
        made = cls(table)
        known = [table.code(Status(status), cause) for status, cause in data["fates"]]
        codes = np.array(known, np.uint16)[np.frombuffer(data["codes"], np.uint16)]
        if data["lengths"]:
            codes = np.repeat(codes, np.frombuffer(data["lengths"], np.int64))
        is_small = codes.max(initial=0) <= np.iinfo(np.uint8).max
        made._codes, made.size = codes.astype(np.uint8) if is_small else codes, len(codes)
        made._counts = np.bincount(codes, minlength=len(table.fates))
        made._counts[0] = 0
        return made

    def _reached(self, where: Where) -> NDArray[np.uint8 | np.uint16]:
        """Return the codes of some frames, a view where it is a range; makes room for them."""
        reach = where.stop if isinstance(where, slice) else int(where.max(initial=-1)) + 1
        if reach > len(self._codes):
            self._codes = _padded(self._codes, max(reach, 2 * len(self._codes), _PAGE))
        self.size = max(self.size, reach)
        return self._codes[where]


_PAGE = 4096


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return values with zeros up to a size."""
    if len(values) >= size:
        return values
    padded = np.zeros(size, values.dtype)
    padded[: len(values)] = values
    return padded
