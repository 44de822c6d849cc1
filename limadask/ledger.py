"""The record of every expected frame: present, partial, absent or vetoed, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sortedcontainers import SortedDict

from limadask.frames import NEVER, Status

Stamps = tuple[NDArray[np.int64], NDArray[np.int64], str]
"""Frame numbers, or the first two of evenly spaced ones, their times, and who took them."""
LOOSE = 256
"""Stamps after which they are gathered."""
_WEIGHT = {
    Status.PENDING: 0,
    Status.ABSENT: 1,
    Status.VETOED: 2,
    Status.PARTIAL: 3,
    Status.PRESENT: 4,
}
"""A frame's record only ever moves up: data that was found outweighs a loss that was presumed."""


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Neighbouring frames of one fate: numbers ``first ≤ i < stop``."""

    first: int
    stop: int
    status: Status
    cause: str = ""

    def continues(self, other: FrameRun) -> bool:
        """Tell whether this run goes on where ``other`` ends, with the same fate."""
        fate = (self.status, self.cause)
        return self.first == other.stop and fate == (other.status, other.cause)


class Ledger:
    """What became of each frame, kept as runs of neighbours: small for any number of frames.

    Parameters
    ----------
    nb_frames:
        Frames expected; None while nobody knows.

    Examples
    --------
    >>> ledger = Ledger(10)
    >>> ledger.mark(0, 5, Status.PRESENT)
    >>> ledger.mark(6, 10, Status.PRESENT)
    >>> ledger.finish("detector")
    >>> ledger.counts()
    {'present': 9, 'partial': 0, 'absent': 1, 'vetoed': 0}
    >>> ledger.ranges(Status.ABSENT)
    [(5, 5, 'detector')]
    """

    def __init__(self, nb_frames: int | None = None) -> None:
        self.nb_frames = nb_frames
        self._runs: SortedDict[int, FrameRun] = SortedDict()
        self._stamps: list[Stamps] = []
        self._loose = 0

    def __len__(self) -> int:
        """Frames it speaks of."""
        last = self._runs.peekitem()[1].stop if self._runs else 0
        return last if self.nb_frames is None else self.nb_frames

    def mark(self, first: int, stop: int, status: Status, cause: str = "") -> None:
        """Record the fate of frames ``first ≤ i < stop``, where it outweighs what is known."""
        if stop <= first:
            return
        new = FrameRun(first, stop, status, cause)
        keys = self._runs.irange(self._left_of(first), stop, inclusive=(True, False))
        touched = [self._runs[key] for key in list(keys) if self._runs[key].stop > first]
        for run in touched:
            del self._runs[run.first]
        pieces = _overlay(touched, new)
        for piece in pieces:
            self._insert(piece)

    def mark_frames(
        self, numbers: NDArray[np.int64], status: NDArray[np.uint8], causes: Callable[[int], str]
    ) -> None:
        """Record the fate of single frames.

        Parameters
        ----------
        numbers, status:
            Frame numbers, increasing, and the :class:`Status` of each.
        causes:
            Called with a frame number for those that are not present.
        """
        if not len(numbers):
            return
        breaks = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(status) != 0)) + 1
        for part in np.split(np.arange(len(numbers)), breaks):
            first, last = int(numbers[part[0]]), int(numbers[part[-1]])
            fate = Status(int(status[part[0]]))
            if fate == Status.PRESENT:
                self.mark(first, last + 1, fate)
                continue
            for number in range(first, last + 1):
                self.mark(number, number + 1, fate, causes(number))

    def stamp(
        self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str = ""
    ) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them.

        Not part of the runs: where receivers take turns no two neighbours would have the same.
        """
        if not len(numbers):
            return
        self._stamps.append((_spaced(numbers), timestamps, receiver))
        self._loose += 1
        if self._loose == LOOSE:  # an array costs ten times what is in it, where blocks are small
            self._gather()

    def _gather(self) -> None:
        """Put the last stamps of each receiver into one array."""
        loose, self._stamps[-self._loose :] = self._stamps[-self._loose :], []
        self._loose = 0
        by_receiver: dict[str, list[Stamps]] = defaultdict(list)
        for one in loose:
            by_receiver[one[2]].append(one)
        for receiver, some in by_receiver.items():
            numbers = np.concatenate([_numbers(one) for one in some])
            times = np.concatenate([times for _, times, _ in some])
            self._stamps.append((_spaced(numbers), times, receiver))

    def finish(self, cause: str, nb_frames: int | None = None) -> None:
        """Call absent whatever is still pending."""
        if nb_frames is not None:
            self.nb_frames = nb_frames
        self.nb_frames = len(self)
        for gap in list(self._gaps()):
            self.mark(*gap, Status.ABSENT, cause)

    def mark_every(self, first: int, stop: int, step: int, cause: str) -> None:
        """Call every ``step``-th of the frames ``first ≤ i < stop`` absent."""
        if step == 1:
            self.mark(first, stop, Status.ABSENT, cause)
            return
        for number in range(first, stop, step):
            self.mark(number, number + 1, Status.ABSENT, cause)

    def counts(self) -> dict[str, int]:
        """Return how many frames are present, partial, absent and vetoed."""
        totals = {status: 0 for status in Status if status}
        for run in self._runs.values():
            totals[run.status] += run.stop - run.first
        return {status.name.lower(): total for status, total in totals.items()}

    def ranges(self, status: Status) -> list[tuple[int, int, str]]:
        """Return ``(first, last, cause)`` of the frames of this status, last included."""
        found: list[list[Any]] = []
        for run in self._runs.values():
            if run.status != status:
                continue
            if found and found[-1][1] == run.first - 1 and found[-1][2] == run.cause:
                found[-1][1] = run.stop - 1
            else:
                found.append([run.first, run.stop - 1, run.cause])
        return [(first, last, cause) for first, last, cause in found]

    def excess(self, bound: float | None, expected: int | None = None) -> str:
        """Return in words that more frames are absent than may be, empty if not.

        Parameters
        ----------
        bound:
            How many may be: a number, a fraction of all as a float, None for any.
        expected:
            How many all are, where these are not the frames expected.
        """
        if isinstance(bound, float):
            count = self.nb_frames if expected is None else expected
            bound = None if count is None else floor(bound * count + 1e-6)
        if bound is None:
            return ""
        absent = self.counts()["absent"]
        if absent <= bound:
            return ""
        first, last, cause = self.ranges(Status.ABSENT)[-1]
        return (
            f"{absent} frames are absent, the policy allows {bound}; "
            f"the last are {first} to {last}, cause {cause!r}"
        )

    def runs(self) -> Iterator[FrameRun]:
        """Return all runs, in order; frames in none of them are pending."""
        yield from self._runs.values()

    def between(self, first: int, stop: int) -> Iterator[FrameRun]:
        """Yield what is known of frames ``first ≤ i < stop``, pending ones too, in order."""
        at = first
        keys = self._runs.irange(self._left_of(first), stop, inclusive=(True, False))
        for run in [self._runs[key] for key in keys]:
            if run.stop <= at:
                continue
            if run.first > at:
                yield FrameRun(at, run.first, Status.PENDING)
            at = min(run.stop, stop)
            yield replace(run, first=max(run.first, first), stop=at)
        if at < stop:
            yield FrameRun(at, stop, Status.PENDING)

    def last(self, *status: Status) -> int:
        """Return the highest frame of these fates, -1 where there is none."""
        for run in reversed(self._runs.values()):
            if run.status in status:
                return int(run.stop) - 1
        return -1

    def to_dataset(self) -> xr.Dataset:
        """Return status, cause, receiver and timestamp of every frame, dim ``frame``."""
        count = len(self)
        status = np.zeros(count, np.uint8)
        # text of the width needed, not one object a frame
        cause = _texts(count, {run.cause for run in self.runs()})
        receiver = _texts(count, {one for *_, one in self._stamps})
        for run in self._runs.values():
            part = slice(run.first, min(run.stop, count))
            status[part], cause[part] = run.status, run.cause
        stamps = np.full(count, NEVER)
        for one in self._stamps:
            _, times, name = one
            numbers = _numbers(one)
            inside = numbers < count
            stamps[numbers[inside]] = times[inside]
            receiver[numbers[inside]] = name
        flags = {
            "flag_values": [int(one) for one in Status],
            "flag_meanings": " ".join(one.name.lower() for one in Status),
        }
        return xr.Dataset(
            {
                "status": ("frame", status, flags),
                "cause": ("frame", cause),
                "receiver": ("frame", receiver),
                "timestamp": ("frame", stamps.view("datetime64[ns]")),
            },
            {"frame": np.arange(count)},
        )

    def dump(self) -> dict[str, Any]:
        """Return it as plain data and bytes, for a message."""
        return {
            "nb_frames": self.nb_frames,
            "runs": [
                (run.first, run.stop, int(run.status), run.cause) for run in self._runs.values()
            ],
            "stamps": [
                (numbers.tobytes(), times.tobytes(), name) for numbers, times, name in self._stamps
            ],
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Ledger:
        """Return the ledger that was dumped."""
        ledger = cls(data["nb_frames"])
        for first, stop, status, cause in data["runs"]:
            ledger._runs[first] = FrameRun(first, stop, Status(status), cause)
        ledger._stamps = [
            (np.frombuffer(numbers, np.int64), np.frombuffer(times, np.int64), name)
            for numbers, times, name in data["stamps"]
        ]
        return ledger

    def _repr_html_(self) -> str:
        from limadask.views import ledger_html

        return ledger_html(self)

    def _left_of(self, number: int) -> int:
        """Return the key of the last run that starts at or before ``number``."""
        index = self._runs.bisect_right(number) - 1
        return self._runs.keys()[index] if index >= 0 else number

    def _insert(self, run: FrameRun) -> None:
        index = self._runs.bisect_left(run.first) - 1
        if index >= 0 and run.continues(previous := self._runs.peekitem(index)[1]):
            del self._runs[previous.first]
            run = replace(run, first=previous.first)
        following = self._runs.get(run.stop)
        if following is not None and following.continues(run):
            del self._runs[following.first]
            run = replace(run, stop=following.stop)
        self._runs[run.first] = run

    def _gaps(self) -> Iterator[tuple[int, int]]:
        start = 0
        for run in self._runs.values():
            if run.first > start:
                yield start, run.first
            start = run.stop
        if start < len(self):
            yield start, len(self)


def _spaced(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first two of evenly spaced numbers: they tell all."""
    if len(numbers) > 2 and not np.diff(numbers, 2).any():
        return numbers[:2].copy()
    return numbers


def _numbers(stamps: Stamps) -> NDArray[np.int64]:
    """Return all numbers of some stamps."""
    numbers, times, _ = stamps
    if len(numbers) == len(times):
        return numbers
    first, second = numbers.tolist()
    step = second - first
    return np.arange(first, first + step * len(times), step, dtype=np.int64)


def _texts(count: int, values: Collection[str]) -> NDArray[np.str_]:
    """Return empty texts of the width that these values need: not one object a frame."""
    return np.full(count, "", f"U{max([1, *map(len, values)])}")


def _overlay(old: list[FrameRun], new: FrameRun) -> list[FrameRun]:
    """Return the runs that ``old``, in order, and ``new`` make together."""
    pieces, at = [], new.first
    for run in old:
        if run.first < new.first:
            pieces.append(replace(run, stop=new.first))
        start, stop = max(run.first, new.first), min(run.stop, new.stop)
        if at < start:
            pieces.append(replace(new, first=at, stop=start))
        winner = new if _WEIGHT[new.status] > _WEIGHT[run.status] else run
        pieces.append(replace(winner, first=start, stop=stop))
        at = stop
        if run.stop > new.stop:
            pieces.append(replace(run, first=new.stop))
    if at < new.stop:
        pieces.append(replace(new, first=at))
    return pieces
