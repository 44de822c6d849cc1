"""What came of one block."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Status
from limadask.pipeline.timing import Timing
from limadask.storage.decoding import CORRUPT
from limadask.task import Values


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that raised; only text, since a traceback would hold the block's memory.

    Parameters
    ----------
    node:
        The node that raised.
    first, last:
        Frame numbers it raised for; last included.
    text:
        The exception in one line.
    details:
        Its traceback.
    abort:
        Whether the policy ends the run for it.
    """

    node: str
    first: int
    last: int
    text: str
    details: str = ""
    abort: bool = False

    @classmethod
    def of(
        cls, node: str, numbers: NDArray[np.int64], error: Exception | None, abort: bool
    ) -> Failure:
        """Describe ``error``, to let go of it."""
        text = f"{type(error).__name__}: {error}"
        details = "".join(traceback.format_exception(error, limit=-8))
        return cls(node, int(numbers[0]), int(numbers[-1]), text, details, abort)


class Outcome:
    """What came of one block: by-products, failures, and where the time went.

    Parameters
    ----------
    frames:
        The block.
    ends:
        Names of the ends of the pipeline's branches.
    """

    def __init__(self, frames: Frames, ends: tuple[str, ...]) -> None:
        self.numbers, self.span = frames.numbers, frames.span
        self.timestamps, self._received = frames.timestamps, frames.status
        self._causes = frames.causes
        self.failures: list[Failure] = []
        self.timing = Timing()
        self._ends = ends
        self._lost = np.zeros((len(frames), len(ends)), bool)
        self._vetoed: dict[int, str] = {}
        self._corrupt = np.zeros(len(frames), bool)
        self.notes: dict[str, list[Any]] = {}
        self.products: dict[str, tuple[NDArray[np.int64], Values]] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each node."""
        return self.timing.seconds()

    def add_failure(self, failure: Failure, lost: tuple[str, ...], part: slice) -> None:
        """Note that ``part`` of the frames did not reach the ends ``lost``."""
        self.failures.append(failure)
        columns = [self._ends.index(end) for end in lost]
        self._lost[part, columns] = True

    def add_corrupt(self, part: slice) -> None:
        """Note that frames could not be decoded."""
        self._corrupt[part] = True

    def add_veto(self, node: str, numbers: Iterable[int]) -> None:
        """Note that a node has vetoed frames; the first that did is remembered."""
        for number in numbers:
            self._vetoed.setdefault(number, node)

    def status(self) -> NDArray[np.uint8]:
        """Return what became of each frame.

        A frame that reached none of the ends because of errors is absent, one that missed some is
        partial; else one that was vetoed is that.
        """
        status = self._received.copy()
        if self._vetoed:
            status[np.isin(self.numbers, list(self._vetoed))] = Status.VETOED
        status[self._lost.any(axis=1)] = Status.PARTIAL
        if self._ends:
            status[self._lost.all(axis=1)] = Status.ABSENT
        status[self._corrupt] = Status.ABSENT
        return status

    def missing(self) -> list[tuple[int, str]]:
        """Return frames that the block answers for and has not, with the cause, where it knows."""
        if not self._causes:
            return []
        there = set(self.numbers.tolist())
        return [(number, why) for number, why in self._causes.items() if number not in there]

    def cause(self, number: int) -> str:
        """Return why a frame is not present."""
        if self._corrupt.any() and number in self.numbers[self._corrupt]:
            return CORRUPT
        for failure in self.failures:
            if failure.first <= number <= failure.last:
                return f"task_error:{failure.node}"
        if number in self._vetoed:
            return f"veto:{self._vetoed[number]}"
        return self._causes.get(number, "detector")
