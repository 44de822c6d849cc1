"""In which order a receiver's own frames follow each other."""

from __future__ import annotations

import sys

from limadask.detector import Deal


class Order:
    """Gives each frame its place among those that a receiver gets.

    Where it is known before which frames are its own, the place follows from the number, and a
    place that is skipped is a gap. Under dynamic dispatch frames are placed as they come.

    Parameters
    ----------
    deal:
        Which frames fall to the receiver.
    nb_frames:
        Frames of the whole run, None while nobody knows.
    """

    def __init__(self, deal: Deal, nb_frames: int | None) -> None:
        self.deal = deal
        self.nb_frames = sys.maxsize if nb_frames is None else nb_frames
        self.last = deal.length(self.nb_frames) if deal.is_known else sys.maxsize
        """Places there are, as far as anybody knows."""
        self._came = bytearray()

    def wants(self, number: int) -> bool:
        """Tell whether a frame falls to this receiver."""
        return number < self.nb_frames and self.deal.wants(number)

    def place(self, number: int, following: int) -> int | None:
        """Return a frame's place; None for one that has its place already.

        Parameters
        ----------
        number:
            The frame, one that is wanted.
        following:
            The place after the last one that was taken.
        """
        if self.deal.is_known:
            return self.deal.length(number)
        byte, bit = number // 8, 1 << number % 8
        if byte >= len(self._came):
            self._came.extend(bytes(byte + 1 + len(self._came)))
        if self._came[byte] & bit:
            return None
        self._came[byte] |= bit
        return following

    def places(self, first: int, stop: int) -> tuple[int, int]:
        """Return the places of the receiver's own among some frames, the last one + 1."""
        return self.deal.length(first), min(self.deal.length(stop), self.last)

    def span(self, first: int, stop: int) -> tuple[int, int] | None:
        """Return the frame numbers from a place up to before another, None if nobody knows."""
        if not self.deal.is_known:
            return None
        return self.deal.number(first), self.deal.number(stop - 1) + 1
