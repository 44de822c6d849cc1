"""What came of a run's frames, as the receipts tell it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.events import FramesAbsent, FramesPartial, FramesVetoed, TaskFailed
from limadask.frames import Status
from limadask.ledger import Failed, FateTable, FrameRun, Ledger
from limadask.monitoring.timeline import Timeline

TOLD = {Status.PARTIAL: FramesPartial, Status.VETOED: FramesVetoed}
"""Events that tell of frames of a status, in ranges."""
Odd = Mapping[int, tuple[int, str]]
"""Status and cause of frames that are not present, by number."""
PRESUMED = ("receiver_lost", "worker_lost")
"""Causes of absences of which a worker's files may know better."""
Publish = Callable[..., None]
"""Tells all clients an event: its kind, and its fields."""


class Account:
    """Ledger, by-products, failures and times of one run.

    Parameters
    ----------
    publish:
        Called with an event's kind and fields.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self.ledger = Ledger()
        self.products: dict[str, list[bytes]] = defaultdict(list)
        self.notes: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.timeline = Timeline()
        self.done = self.told_absent = self.nb_lacking = 0
        self.presumed: list[tuple[int, int, int, str]] = []
        """Frames that some receiver has no part of: first, last + 1, step and cause."""
        self.tells_saved = False
        """Whether somebody wants to know which frames are safe, block by block."""
        self._saved: list[tuple[int, int]] = []

    def of_part(self, part: int) -> Ledger:
        """Return the ledger of one part of the frames: of all, where they do not come in parts."""
        return self.ledger

    def take(self, receipt: Mapping[str, Any], receiver: str, part: int = 0) -> str:
        """Take what came of a block; return why the run must end for it, if it must.

        Parameters
        ----------
        receipt:
            What :func:`limadask.engine.messages.receipt` made.
        receiver:
            Name of the worker that received the block.
        part:
            Which part of the frames it is.
        """
        numbers = np.frombuffer(receipt["numbers"], np.int64)
        odd = {number: (fate, cause) for number, fate, cause in receipt["odd"]}
        status = np.full(len(numbers), Status.PRESENT, np.uint8)
        for place, number in enumerate(numbers.tolist() if odd else ()):
            status[place] = odd.get(number, (Status.PRESENT,))[0]
        self.of_part(part).mark_frames(numbers, status, lambda number: odd[number][1])
        self.ledger.stamp(numbers, np.frombuffer(receipt["timestamps"], np.int64), receiver)
        for number, cause in receipt.get("missing", ()):
            self.mark_absent(number, number + 1, 1, cause, part)
        self._count(numbers, odd)
        self.nb_lacking += receipt.get("lacking", 0)
        if len(numbers):
            self.timeline.take(receipt, receiver, int(numbers[0]), int(numbers[-1]))
        return self.take_results(receipt)

    def take_results(self, receipt: Mapping[str, Any]) -> str:
        """Take by-products and failures alone, of frames that were accounted for before."""
        for node, data in receipt["products"].items():
            self.products[node].append(data)
        for node, notes in receipt["notes"].items():
            self.notes[node] += [(receipt["worker"], note) for note in notes]
        reason = ""
        for node, first, last, text, abort in receipt["failures"]:
            self.ledger.failures.add(node, first, last, text)
            self._publish(TaskFailed, node=node, first=first, last=last, text=text)
            if abort and not reason:
                reason = str(Failed(node, first, last, text))
        return reason

    def note_trouble(self, node: str, number: int, text: str) -> None:
        """Tell of trouble that costs frames, once for each text."""
        if not self.ledger.failures.knows(text):
            self.ledger.failures.add(node, number, number, text)
            self._publish(TaskFailed, node=node, first=number, last=number, text=text)

    def mark_absent(self, first: int, stop: int, step: int, cause: str, part: int = 0) -> None:
        """Record that every ``step``-th of the frames ``first ≤ i < stop`` will not come."""
        if stop <= first:
            return
        self.ledger.mark(first, stop, Status.ABSENT, cause, step)
        self.told_absent += len(range(first, stop, step))
        self._publish(FramesAbsent, first=first, last=stop - 1, cause=cause, step=step)

    def find(self, part: int, fates: Odd) -> None:
        """Record frames that a worker had saved, and of which its receipts have not told."""
        ledger = self.of_part(part)
        numbers = np.array(sorted(fates), np.int64)
        known, codes, causes = ledger.columns(int(numbers.max(initial=-1)) + 1)
        presumed = [code for code, cause in enumerate(causes) if cause in PRESUMED]
        unknown = (known == Status.PENDING) | (known == Status.ABSENT) & np.isin(codes, presumed)
        numbers = numbers[unknown[numbers]]
        status = np.array([fates[number][0] for number in numbers.tolist()], np.uint8)
        ledger.mark_frames(numbers, status, lambda number: fates[number][1])
        found = {number: fates[number] for number in numbers.tolist()}
        self._count(numbers, {n: fate for n, fate in found.items() if fate[0] != Status.PRESENT})

    def lose_part(self, part: int, seen: int) -> None:
        """Do nothing: frames do not come in parts."""

    def _count(self, numbers: NDArray[np.int64], odd: Odd) -> None:
        """Count the frames of a block, tell of those that are odd, note which are safe now."""
        self.done += len(numbers)
        if odd:
            self._tell(_runs(odd))
        if self.tells_saved:
            unsaved = [number for number, fate in odd.items() if not is_saved(*fate)]
            there = numbers[~np.isin(numbers, unsaved)] if unsaved else numbers
            self._saved += ranges(there)

    def _tell(self, runs: Iterable[FrameRun]) -> None:
        """Tell of frames that are not present."""
        told = defaultdict[tuple[Status, str], list[tuple[int, int]]](list)
        for run in runs:
            if run.status == Status.ABSENT:
                self._publish(FramesAbsent, first=run.first, last=run.stop - 1, cause=run.cause)
            else:
                told[run.status, run.cause].append((run.first, run.stop - 1))
        for (status, cause), some in told.items():
            if status in TOLD:
                self._publish(TOLD[status], ranges=tuple(some), cause=cause)

    def take_saved(self) -> list[tuple[int, int]]:
        """Return the frames that have become safe since the last call: first and last."""
        saved, self._saved = self._saved, []
        return saved

    def finish(self, seen: int, received: str, missing: str) -> None:
        """Give every frame that is still pending its cause.

        Parameters
        ----------
        seen:
            The highest frame number that any receiver has seen, plus one.
        received:
            Cause for pending frames below it: they were received, and lost after.
        missing:
            Cause for those above: they were never received.
        """
        before = {(first, last) for first, last, _ in self.ledger.ranges(Status.ABSENT)}
        self._finish_ledger(seen, received, missing)
        for first, last, cause in self.ledger.ranges(Status.ABSENT):
            if (first, last) not in before:
                self._publish(FramesAbsent, first=first, last=last, cause=cause)

    def _finish_ledger(self, seen: int, received: str, missing: str) -> None:
        nb_frames = seen if self.ledger.nb_frames is None else self.ledger.nb_frames
        self.ledger.nb_frames = min(seen, nb_frames)
        self.ledger.finish(received)
        self.ledger.nb_frames = nb_frames
        self.ledger.finish(missing)

    def excess(self, bound: float | None) -> str:
        """Return in words that more frames are absent, or lack a module, than may; empty if not."""
        return self.ledger.excess(bound, lacking=self.nb_lacking)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What tasks have raised, as plain data."""
        return [one._asdict() for one in self.ledger.failures]

    def last(self) -> int:
        """Return the highest frame that is there, -1 where none is."""
        return self.ledger.last(Status.PRESENT, Status.PARTIAL)


def is_saved(status: int, cause: str) -> bool:
    """Tell whether a frame of this fate is where its savers were to put it.

    One that a task raised for is missing from some branch; one that was vetoed may be left out.
    """
    if status == Status.PARTIAL:
        return not cause.startswith("task_error:")
    return status == Status.PRESENT


def _runs(odd: Odd) -> Iterator[FrameRun]:
    """Return single frames as runs, in order."""
    table, numbers = FateTable(), sorted(odd)
    codes = [table.code(Status(status), cause) for status, cause in map(odd.__getitem__, numbers)]
    return table.runs(np.array(numbers), np.array(codes))


def ranges(numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return increasing frame numbers as ranges: first and last."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [(int(some[0]), int(some[-1])) for some in parts if len(some)]
