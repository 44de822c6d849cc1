"""What can go wrong with the simulated camera, on purpose."""

from __future__ import annotations

from typing import Annotated
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from limadask.model import Model

Chosen = frozenset[NonNegativeInt] | Annotated[float, Field(ge=0, le=1)]
"""Frames by their numbers, or the probability of each, a float."""
NONE: frozenset[int] = frozenset()


class Faults(Model):
    """What goes wrong: for some frames, or for each with a probability.

    Whether it happens to frame *i* depends on ``seed`` and *i* alone, so that every run of the
    same faults is the same.
    """

    seed: NonNegativeInt = 0
    """Where the probabilities are drawn from."""
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
        chosen = getattr(self, fault)
        if isinstance(chosen, frozenset):
            return number in chosen
        return bool(chosen) and self._random(fault, number).random() < chosen

    def lost_rows(self, number: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of a frame are missing, shape ``(y, x)``: some rows."""
        random = self._random("rows", number)
        first = int(random.integers(shape[0]))
        count = int(random.integers(1, max(2, shape[0] // 4)))
        mask = np.zeros(shape, bool)
        mask[first : first + count] = True
        return mask

    def _random(self, fault: str, number: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, crc32(fault.encode()), number))
