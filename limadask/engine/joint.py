"""The ledger of frames that come in parts: each part has its own, and all make the frame's fate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask.ledger import FrameRun, Ledger


class JointLedger(Ledger):
    """What became of each frame, once it is known of all its parts.

    A frame is present when all parts are, absent when none is there, and else partial, with the
    cause of the first part that is not present.

    Parameters
    ----------
    nb_parts:
        Parts of each frame.
    """

    def __init__(self, nb_parts: int) -> None:
        super().__init__()
        self.parts = [PartLedger(self) for _ in range(nb_parts)]
        self.nb_there = 0
        """Frames whose fate is known and that are not absent."""
        self._news: list[FrameRun] = []
        self._stamped = Ledger()

    def settle(self, first: int, stop: int) -> None:
        """Mark those of the frames ``first ≤ i < stop`` whose every part is known."""
        for run in self._known(first, stop):
            for before in list(self.between(run.first, run.stop)):
                if before.status == Status.PENDING:
                    self._news.append(FrameRun(before.first, before.stop, run.status, run.cause))
            self.mark(run.first, run.stop, run.status, run.cause)

    def take_news(self) -> list[FrameRun]:
        """Return the frames whose fate has become known since the last call."""
        news, self._news = self._news, []
        self.nb_there += sum(one.stop - one.first for one in news if one.status != Status.ABSENT)
        return news

    def finish(self, cause: str, nb_frames: int | None = None) -> None:
        """Call absent whatever part is still pending."""
        if nb_frames is not None:
            self.nb_frames = nb_frames
        for part in self.parts:
            part.finish(part.lost or cause, len(self))
        super().finish(cause)

    def stamp(
        self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str = ""
    ) -> None:
        """Record when frames were exposed, as the first of their parts tells."""
        if not len(numbers):
            return
        fresh = np.ones(len(numbers), bool)
        for run in self._stamped.between(int(numbers[0]), int(numbers[-1]) + 1):
            if run.status != Status.PENDING:
                fresh &= (numbers < run.first) | (numbers >= run.stop)
        status = np.full(len(numbers), Status.PRESENT, np.uint8)
        self._stamped.mark_frames(numbers, status, str)
        super().stamp(numbers[fresh], timestamps[fresh], receiver)

    def _known(self, first: int, stop: int) -> list[FrameRun]:
        """Return runs of frames whose every part is known, with their joint fate."""
        runs = [list(part.fates(first, stop)) for part in self.parts]
        edges = sorted({edge for some in runs for run in some for edge in (run.first, run.stop)})
        places, found = [0] * len(runs), []
        for start, end in pairwise(edges):
            for part, some in enumerate(runs):
                while some[places[part]].stop <= start:
                    places[part] += 1
            joint = _joint([some[place] for some, place in zip(runs, places, strict=True)])
            if joint is not None:
                found.append(FrameRun(start, end, *joint))
        return found


class PartLedger(Ledger):
    """The ledger of one part; what is marked here counts for the whole frames at once.

    Parameters
    ----------
    joint:
        The whole frames.
    """

    def __init__(self, joint: JointLedger) -> None:
        super().__init__()
        self._joint = joint
        self.lost = ""
        """Why no more of this part will come, empty while it may."""

    def mark(self, first: int, stop: int, status: Status, cause: str = "") -> None:
        """Record the fate of this part of the frames ``first ≤ i < stop``."""
        super().mark(first, stop, status, cause)
        if stop > first:
            self._joint.settle(first, stop)

    def lose(self, cause: str, seen: int) -> None:
        """Record that no more will come; frames below ``seen`` have their other parts already."""
        self.lost = cause
        self._joint.settle(0, seen)

    def fates(self, first: int, stop: int) -> list[FrameRun]:
        """Return what is known of the frames ``first ≤ i < stop``, in runs without gaps."""
        runs = self.between(first, stop)
        if not self.lost:
            return list(runs)
        return [
            FrameRun(run.first, run.stop, Status.ABSENT, self.lost)
            if run.status == Status.PENDING
            else run
            for run in runs
        ]


def _joint(fates: Sequence[FrameRun]) -> tuple[Status, str] | None:
    """Return the fate of frames by those of their parts, None while one is not known."""
    known = {one.status for one in fates}
    if Status.PENDING in known:
        return None
    cause = next((one.cause for one in fates if one.status != Status.PRESENT), "")
    if len(known) == 1:
        return known.pop(), cause
    return Status.PARTIAL, cause
