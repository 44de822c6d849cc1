"""Which series a receiver takes."""

from __future__ import annotations

from typing import Literal

from limadask_detectors.dectris.message import Message


class ChosenSeries:
    """Tells messages of the series that is taken from others.

    Parameters
    ----------
    number:
        The series; None takes the first that is seen.
    follows:
        Whether others arm the detector: then any start of another series ends this one, also of a
        lower number, as after a restart of the detector.
    before:
        The series that was taken before: what is left of it is not the next one.
    """

    def __init__(
        self, number: int | None, follows: bool = False, before: int | None = None
    ) -> None:
        self.number, self._follows, self._before = number, follows, before

    def place(self, message: Message) -> Literal["before", "ours", "after"]:
        """Tell whether a message is of this series, or of one before or after it."""
        if self.number is None:
            is_old = message.kind == "image" and message.series == self._before
            if message.kind == "end" or is_old:
                return "before"
            self.number = message.series
        if message.series == self.number:
            return "ours"
        is_next = self._follows and message.kind == "start"
        return "after" if is_next or message.series > self.number else "before"
