"""Which frames fall to which receiver."""

from __future__ import annotations

from dataclasses import dataclass

from limadask.parameters import Dispatch


@dataclass(frozen=True, slots=True)
class Deal:
    """What one of several receivers gets of the frames.

    Under ``round_robin`` and ``broadcast`` receiver *i* of *n* gets frames *i*, *i + n*,
    *i + 2 n*, …: its *places*. Under ``dynamic`` nobody knows before they come, and under
    ``single`` and ``partial`` it gets all, whole or its modules' part of each.

    Parameters
    ----------
    dispatch:
        How frames are dealt.
    index, count:
        Which receiver it is, of how many.

    Examples
    --------
    >>> deal = Deal("round_robin", 1, 3)
    >>> [number for number in range(9) if deal.wants(number)]
    [1, 4, 7]
    >>> deal.number(2), deal.length(8)
    (7, 3)
    """

    dispatch: Dispatch = "single"
    index: int = 0
    count: int = 1

    @property
    def step(self) -> int:
        """From one of its frames to the next."""
        return self.count if self.dispatch in ("round_robin", "broadcast") else 1

    @property
    def is_known(self) -> bool:
        """Whether it is known before they come which frames are its own."""
        return self.dispatch != "dynamic"

    def wants(self, number: int) -> bool:
        """Tell whether a frame falls to this receiver, or may."""
        return self.step == 1 or number % self.step == self.index

    def number(self, place: int) -> int:
        """Return the frame at a place."""
        return place if self.step == 1 else place * self.step + self.index

    def length(self, stop: int) -> int:
        """Return how many of the frames below ``stop`` are its own."""
        return stop if self.step == 1 else max(0, -(-(stop - self.index) // self.step))
