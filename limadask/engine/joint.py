"""The ledger of frames that come in parts: each part has its own, and all make the frame's fate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask.ledger import STOPPED, Fates, FateTable, FrameRun, Ledger


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
        self.parts = [PartLedger(self, self._fates.table) for _ in range(nb_parts)]
        self.nb_there = 0
        """Frames whose fate is known and that are not absent."""
        self._news: list[FrameRun] = []
        self._lacking, self._stamped = Fates(FateTable()), Fates(FateTable())

    def settle(self, first: int, stop: int) -> None:
        """Mark those of the frames ``first ≤ i < stop`` whose every part is known."""
        table = self._fates.table
        codes = np.stack([part.codes(first, stop) for part in self.parts])
        known = (table.status[codes] != Status.PENDING).all(axis=0)
        joint = _joint(table, codes[:, known])
        numbers = first + np.flatnonzero(known)
        is_new = self._fates.codes(first, stop)[known] == 0
        self._news += table.runs(numbers[is_new], joint[is_new])
        for code in np.unique(joint).tolist():
            self._fates.mark(numbers[joint == code], code)
        absent = table.status[codes] == Status.ABSENT
        wanted = codes != table.code(Status.ABSENT, STOPPED)
        lacks = ((absent & wanted).any(axis=0) & ~absent.all(axis=0))[known]
        self._lacking.mark(numbers[lacks], self._lacking.table.code(Status.ABSENT, ""))
        self._lacking.mark(numbers[~lacks], self._lacking.table.code(Status.PRESENT, ""))

    @property
    def nb_lacking(self) -> int:
        """Frames that lack a whole part, but not all of them."""
        return sum(count for one, _, count in self._lacking.counts() if one == Status.ABSENT)

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
        first = int(numbers[0])
        fresh = self._stamped.codes(first, int(numbers[-1]) + 1)[numbers - first] == 0
        self._stamped.mark(numbers, self._stamped.table.code(Status.PRESENT, ""))
        super().stamp(numbers[fresh], timestamps[fresh], receiver)


class PartLedger(Ledger):
    """The ledger of one part; what is marked here counts for the whole frames at once.

    Parameters
    ----------
    joint:
        The whole frames.
    """

    def __init__(self, joint: JointLedger, table: FateTable) -> None:
        super().__init__(table=table)
        self._joint = joint
        self.lost = ""
        """Why no more of this part will come, empty while it may."""

    def mark(self, first: int, stop: int, status: Status, cause: str = "", step: int = 1) -> None:
        """Record the fate of this part of every ``step``-th of the frames ``first ≤ i < stop``."""
        super().mark(first, stop, status, cause, step)
        if stop > first:
            self._joint.settle(first, stop)

    def mark_frames(
        self, numbers: NDArray[np.int64], status: NDArray[np.uint8], causes: Callable[[int], str]
    ) -> None:
        """Record the fate of this part of single frames."""
        super().mark_frames(numbers, status, causes)
        if len(numbers):
            self._joint.settle(int(numbers[0]), int(numbers[-1]) + 1)

    def lose(self, cause: str, seen: int) -> None:
        """Record that no more will come; frames below ``seen`` have their other parts already."""
        self.lost = cause
        self._joint.settle(0, seen)

    def codes(self, first: int, stop: int) -> NDArray[np.uint16]:
        """Return the fates of the frames ``first ≤ i < stop`` as codes of the common table."""
        codes = self._fates.codes(first, stop)
        if self.lost:
            code = self._fates.table.code(Status.ABSENT, self.lost)
            codes = np.where(codes == 0, np.uint16(code), codes)
        return codes


def _joint(table: FateTable, codes: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the fates of frames by those of their parts, shape ``(part, frame)``, as codes."""
    status = table.status[codes]
    alike = (status == status[0]).all(axis=0)
    # the first part that is not present tells why; where all are, its cause is empty
    telling = np.argmax(status != Status.PRESENT, axis=0)
    pairs = np.stack([codes[telling, np.arange(codes.shape[1])], alike])
    joint = np.empty(codes.shape[1], np.int64)
    for code, is_alike in np.unique(pairs, axis=1).T.tolist():
        fate, cause = table.fates[code]
        made = table.code(fate if is_alike else Status.PARTIAL, cause)
        joint[(pairs[0] == code) & (pairs[1] == is_alike)] = made
    return joint
