"""What can go wrong with the simulated camera, on purpose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt

from limadask.faults import NONE, Chosen, draws, happens
from limadask.model import Model


class Faults(Model):
    """What goes wrong: for some frames, or for each with a probability.

    Whether it happens to frame *i* depends on ``seed`` and *i* alone, so that every run of the
    same faults is the same.
    """

    seed: NonNegativeInt = 0
    """Where the probabilities are drawn from."""
    receivers: tuple[NonNegativeInt, ...] = ()
    """Receivers that they happen to, where several have their part of each frame; empty: all."""
    drop: Chosen = NONE
    """Frames that never come: ``[3, 7]``, or ``0.01`` for one in a hundred."""
    corrupt: Chosen = NONE
    """Frames that come damaged, as their checksum tells: absent, cause ``decode_error``."""
    overrun: Chosen = NONE
    """Frames that the camera has no memory for: absent, cause ``overrun``."""
    lose_packets: Chosen = NONE
    """Frames that come without some of their rows: partial, cause ``packets_lost``."""
    delay: Chosen = NONE
    """Frames that come late, and all after them."""
    delay_time: NonNegativeFloat = 0.1
    """By how much."""
    duplicate: Chosen = NONE
    """Frames that come twice."""
    reorder: Chosen = NONE
    """Frames that come after the one that follows them."""
    die: NonNegativeInt | None = None
    """The frame from which on nothing comes, not even an end."""

    def happens(self, fault: str, number: int) -> bool:
        """Tell whether a fault happens to a frame."""
        return happens(getattr(self, fault), number, fault, self.seed)

    def lost_rows(self, number: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of a frame are missing, shape ``(y, x)``: some rows."""
        random = draws("rows", number, self.seed)
        first = int(random.integers(shape[0]))
        count = int(random.integers(1, max(2, shape[0] // 4)))
        mask = np.zeros(shape, bool)
        mask[first : first + count] = True
        return mask
