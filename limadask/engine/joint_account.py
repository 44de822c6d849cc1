"""What came of frames that come in parts, each of which has receipts of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.engine.account import Account, Publish
from limadask.engine.joint import JointLedger, PartLedger
from limadask.events import FramesAbsent
from limadask.frames import Status


class JointAccount(Account):
    """Counts and tells of frames when all their parts are known.

    Parameters
    ----------
    publish:
        Called with an event's kind and fields.
    nb_parts:
        Parts of each frame.
    """

    def __init__(self, publish: Publish, nb_parts: int) -> None:
        super().__init__(publish)
        self.ledger: JointLedger = JointLedger(nb_parts)

    def of_part(self, part: int) -> PartLedger:
        """Return the ledger of one part of the frames."""
        return self.ledger.parts[part]

    def mark_absent(self, first: int, stop: int, step: int, cause: str, part: int = 0) -> None:
        """Record that one part of some frames will not come; others may have theirs."""
        self.of_part(part).mark_every(first, stop, step, cause)
        self._tell_news()

    def lose_part(self, part: int, seen: int) -> None:
        """Record that no more of one part will come, though others did up to frame ``seen``."""
        self.of_part(part).lose("receiver_lost", seen)
        self._tell_news()

    def finish(self, seen: int, received: str, missing: str) -> None:
        """Give every part of a frame that is still pending its cause."""
        self._finish_ledger(seen, received, missing)
        self._tell_news()

    def _count(self, numbers: NDArray[np.int64], odd: Mapping[int, Any]) -> None:
        self._tell_news()

    def _tell_news(self) -> None:
        """Count and tell of frames whose fate is known by now, all parts of them."""
        for run in self.ledger.take_news():
            if run.status == Status.ABSENT:
                self._publish(FramesAbsent, first=run.first, last=run.stop - 1, cause=run.cause)
            elif self.tells_saved:
                self._saved.append((run.first, run.stop - 1))
        self.done = self.ledger.nb_there
