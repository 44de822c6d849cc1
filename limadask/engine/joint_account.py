"""What came of frames that come in parts, each of which has receipts of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limadask.engine.account import Account, Odd, Publish, is_saved, ranges
from limadask.engine.joint import JointLedger, PartLedger
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
        self._unsaved: set[int] = set()

    def of_part(self, part: int) -> PartLedger:
        """Return the ledger of one part of the frames."""
        return self.ledger.parts[part]

    def mark_absent(self, first: int, stop: int, step: int, cause: str, part: int = 0) -> None:
        """Record that one part of some frames will not come; others may have theirs."""
        self.of_part(part).mark(first, stop, Status.ABSENT, cause, step)
        self._tell_news()

    def lose_part(self, part: int, seen: int) -> None:
        """Record that no more of one part will come, though others did up to frame ``seen``."""
        self.of_part(part).lose("receiver_lost", seen)
        self._tell_news()

    def finish(self, seen: int, received: str, missing: str) -> None:
        """Give every part of a frame that is still pending its cause."""
        self._finish_ledger(seen, received, missing)
        self._tell_news()

    def _count(self, numbers: NDArray[np.int64], odd: Odd) -> None:
        # its parts that are there are saved, though others never came
        self._unsaved |= {
            number
            for number, (status, cause) in odd.items()
            if not is_saved(status, cause)
            and (status != Status.ABSENT or cause.startswith("task_error:"))
        }
        self._tell_news()

    def _tell_news(self) -> None:
        """Count and tell of frames whose fate is known by now, all parts of them."""
        news = self.ledger.take_news()
        self._tell(news)
        for run in news:
            if self.tells_saved and run.status != Status.ABSENT:
                numbers = np.arange(run.first, run.stop)
                self._saved += ranges(numbers[~np.isin(numbers, list(self._unsaved))])
            if self._unsaved:  # each frame is told once
                self._unsaved.difference_update(range(run.first, run.stop))
        self.done, self.nb_lacking = self.ledger.nb_there, self.ledger.nb_lacking
