"""Frame numbers that were skipped: waited for, then told as absent, and still taken when late."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sortedcontainers import SortedDict

GRACE = 0.5
"""Seconds that a skipped frame is waited for before it is called absent."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Frames ``first ≤ i < stop`` that did not come.

    Parameters
    ----------
    first, stop:
        The frames.
    cause:
        Why.
    due:
        When to say so, seconds of the monotonic clock.
    """

    first: int
    stop: int
    cause: str
    due: float = 0.0


def merged(absences: Iterable[Absence]) -> list[Absence]:
    """Return absences with neighbours of one cause as one: there may be one for each frame."""
    made: list[Absence] = []
    for one in absences:
        before = made[-1] if made else None
        if before and (before.stop, before.cause) == (one.first, one.cause):
            made[-1] = replace(before, stop=one.stop)
        else:
            made.append(one)
    return made


class Gaps:
    """The frames that are missing so far."""

    def __init__(self) -> None:
        self._waiting: SortedDict[int, Absence] = SortedDict()
        self._told: SortedDict[int, Absence] = SortedDict()
        self.due = float("inf")
        """When the first of them is to be told."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, first: int, stop: int, cause: str, grace: float = GRACE) -> None:
        """Note frames that were skipped."""
        if stop > first:
            gap = Absence(first, stop, cause, time.monotonic() + grace)
            self._waiting[first] = gap
            self.due = min(self.due, gap.due)

    def explain(self, first: int, stop: int, cause: str) -> None:
        """Note why frames that were skipped before did not come."""
        for number in range(first, stop):
            if _find(self._waiting, number) is not None:
                self.fill(number)
                self.add(number, number + 1, cause, grace=0.0)

    def __contains__(self, number: int) -> bool:
        return any(_find(gaps, number) for gaps in (self._waiting, self._told))

    def causes(self, first: int, stop: int) -> dict[int, str]:
        """Return why frames ``first ≤ i < stop`` are missing, of those that are."""
        found = [*self._waiting.values(), *self._told.values()]
        return {
            number: one.cause
            for one in found
            for number in range(max(one.first, first), min(one.stop, stop))
        }

    def waits_for(self, first: int, stop: int) -> bool:
        """Tell whether any of the frames ``first ≤ i < stop`` may still come."""
        return any(one.first < stop and first < one.stop for one in self._waiting.values())

    def fill(self, number: int) -> None:
        """Note that a missing frame has come after all."""
        for gaps in (self._waiting, self._told):
            if (gap := _find(gaps, number)) is not None:
                del gaps[gap.first]
                if gap.first < number:
                    gaps[gap.first] = replace(gap, stop=number)
                if number + 1 < gap.stop:
                    gaps[number + 1] = replace(gap, first=number + 1)

    def tell(self, now: float) -> Iterator[Absence]:
        """Yield those that have been waited for long enough, once."""
        for gap in [one for one in self._waiting.values() if one.due <= now]:
            del self._waiting[gap.first]
            self._told[gap.first] = gap
            yield gap
        self.due = min((one.due for one in self._waiting.values()), default=float("inf"))


def _find(gaps: SortedDict[int, Absence], number: int) -> Absence | None:
    index = gaps.bisect_right(number) - 1
    gap: Absence | None = gaps.peekitem(index)[1] if index >= 0 else None
    return gap if gap is not None and number < gap.stop else None
